// One step of a client's conversation: named, and bounded in time, so that a failure says where it happened.

const PATIENCE_MS = 15_000

export async function step(name, act) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('took too long')), PATIENCE_MS)
  })
  try {
    const result = await Promise.race([act(), late])
    console.log(`ok: ${name}`)
    return result
  } catch (error) {
    console.error(`failed: ${name}: ${error?.stack ?? error}`)
    process.exit(1)
  } finally {
    clearTimeout(timer)
  }
}

export function check(condition, text) {
  if (!condition) throw new Error(text)
}

// A promise with its resolve outside, for what a callback brings.
export function promised() {
  let resolve
  const promise = new Promise((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
