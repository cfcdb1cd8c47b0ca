// Requests to the server, and the parts of a streamed answer as they come.

let ask = async () => null;
let key = sessionStorage.getItem("bloomery.key");

/** What is called when the server wants a key: it resolves to one. */
export function onKeyNeeded(dialog) { ask = dialog; }

async function request(path, options = {}) {
  for (;;) {
    const headers = { ...(options.body ? { "content-type": "application/json" } : {}) };
    if (key) headers.authorization = `Bearer ${key}`;
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server does not answer. Is it still running?");
    }
    if (response.ok) return response;
    const told = await response.json().catch(() => ({}));
    if (response.status !== 401) throw new Error(told.error?.message ?? `The server says ${response.status}.`);
    key = await ask();
    sessionStorage.setItem("bloomery.key", key);
  }
}

export const about = async () => (await request("/about")).json();

export async function vote(body) {
  return (await request("/votes", { method: "POST", body: JSON.stringify(body) })).json();
}

/** Calls `more` with each part of an answer's text; resolves to why it ended. */
export async function stream(path, body, signal, more) {
  const options = { method: "POST", body: JSON.stringify({ ...body, stream: true }), signal };
  const reader = (await request(path, options)).body.getReader();
  const decoder = new TextDecoder();
  let rest = "", finish = null;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("The connection ended before the answer did.");
    rest += decoder.decode(value, { stream: true });
    const events = rest.split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.slice("data: ".length);
      if (data === "[DONE]") return finish;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Error(chunk.error.message);
      for (const choice of chunk.choices) {
        const text = choice.delta ? choice.delta.content : choice.text;
        if (text) more(text);
        finish = choice.finish_reason ?? finish;
      }
    }
  }
}
