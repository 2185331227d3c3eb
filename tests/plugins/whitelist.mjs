#!/usr/bin/env node
// The same policy for Node.
import { createInterface } from 'node:readline';

createInterface({ input: process.stdin }).on('line', (line) => {
    const { type, event } = JSON.parse(line);
    if (type !== 'new') {
        console.error('unexpected request type');
        return;
    }
    const answer = { id: event.id, action: 'accept' };
    if (event.content.includes('spam')) {
        Object.assign(answer, { action: 'reject', msg: 'blocked: no spam' });
    } else if (event.content.includes('shadow')) {
        answer.action = 'shadowReject';
    }
    console.log(JSON.stringify(answer));
});
