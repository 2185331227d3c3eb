#!/usr/bin/env node
// A plugin that does what an event's content, or a filter's search for the tag `x`, tells it to.
import { createInterface } from 'node:readline';

const held = [];
const batch = [];

const say = (id, action, msg) => console.log(JSON.stringify({ id, action, msg }));

const commands = {
    // Answered once somebody says "release".
    hold: (id) => held.push(id),
    release: (id) => {
        say(id, 'accept');
        held.splice(0).forEach((other) => say(other, 'accept'));
    },
    // Answered in reverse once there are as many as the argument says.
    batch: (id, request, count) => {
        batch.push(id);
        if (batch.length >= Number(count)) batch.splice(0).reverse().forEach((other) => say(other, 'accept'));
    },
    reject: (id, request, text) => say(id, 'reject', text),
    shadow: (id, request, text) => say(id, 'shadowReject', text),
    // Refuses with what the plugin was told besides the event.
    tell: (id, request) => {
        const { sourceType, sourceInfo, authed, receivedAt, verb, subscription } = request;
        const told = { sourceType, sourceInfo, authed, receivedAt: typeof receivedAt, verb, subscription };
        say(id, 'reject', `blocked: ${JSON.stringify(told)}`);
    },
    process: (id) => say(id, 'reject', `blocked: ${process.pid}`),
    junk: (id) => {
        console.log('starting up\n{\n\n' + 'x'.repeat(100000));
        say(id, 'accept');
        console.log('more junk');
    },
    long: (id) => say(id, 'reject', `blocked: ${'y'.repeat(64 * 1024)}`),
    late: (id, request, ms) => setTimeout(() => say(id, 'accept'), Number(ms)),
    // And the ways to fail.
    exit: () => process.exit(3),
    silence: () => {},
    stranger: () => say('f'.repeat(64), 'accept'),
    dance: (id) => say(id, 'dance'),
    array: () => console.log('[]'),
    flood: () => {
        const more = () => process.stdout.write('z'.repeat(65536) + '\n', more);
        more();
    },
    endless: () => {
        const more = () => process.stdout.write('z'.repeat(65536), more);
        more();
    },
    deaf: () => {
        for (;;);
    },
};

console.error('the puppet is ready');
createInterface({ input: process.stdin }).on('line', (line) => {
    const request = JSON.parse(line);
    const [id, script] = request.type === 'new'
        ? [request.event.id, request.event.content]
        : [request.id, request.filters[0]['#x']?.[0] ?? ''];
    const [command, ...rest] = script.split(' ');
    (commands[command] ?? ((id) => say(id, 'accept')))(id, request, rest.join(' '));
});
