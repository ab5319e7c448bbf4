// Asks the service. The answer of /page/upscale: a line of JSON for each event, and as many bytes after it as its `bytes` says.

const GONE = "The service does not answer: it was stopped, or the connection is lost. Start it again (srgan serve), then try again.";

export async function ask(path, options) {
  // The response, whatever its status; an Error with a sentence where there is none.
  try {
    return await fetch(path, options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error(GONE);
  }
}

export async function* frames(response) {
  const reader = response.body.getReader();
  let chunks = [];
  let size = 0;

  async function fill() {
    const { done, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Error(GONE);
    });
    if (done) throw new Error(GONE);
    chunks.push(value);
    size += value.length;
  }

  function take(count) {
    const taken = new Uint8Array(count);
    let at = 0;
    while (at < count) {
      const part = chunks[0].subarray(0, count - at);
      taken.set(part, at);
      at += part.length;
      if (part.length === chunks[0].length) chunks.shift();
      else chunks[0] = chunks[0].subarray(part.length);
    }
    size -= count;
    return taken;
  }

  function lineLength() {
    let before = 0;
    for (const chunk of chunks) {
      const at = chunk.indexOf(10);
      if (at >= 0) return before + at;
      before += chunk.length;
    }
    return -1;
  }

  for (;;) {
    while (lineLength() < 0) await fill();
    const event = JSON.parse(new TextDecoder().decode(take(lineLength() + 1)));
    while (size < event.bytes) await fill();
    event.data = take(event.bytes);
    yield event;
    if (event.event === "end" || event.event === "problem") return;
  }
}

export async function sentence(response) {
  // What a refusal says, in words.
  if (response.status === 401) return "The service asks for its token: reload this page and enter it.";
  try {
    return (await response.json()).detail;
  } catch {
    return `The service, or a proxy before it, answered ${response.status} ${response.statusText}. Try again later.`;
  }
}
