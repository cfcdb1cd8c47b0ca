// Conversations and settings, kept by this browser alone.
//
// A turn is {role: "user", text} or {role: "assistant", answers: [answer], shown}, where an answer is
// {text, seed, finish, vote, error}: asking again adds one, and `shown` is the one that counts.

const CONVERSATIONS = "bloomery.conversations", SETTINGS = "bloomery.settings", MOST = 200;
export const DEFAULTS = {
  system: "", temperature: 0.8, top_p: 0.95, top_k: 0, max_tokens: 256, seed: "", mode: "", theme: "",
};

function read(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function write(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch { /* full or forbidden: they last as long as the page */ }
}

export const settings = { ...DEFAULTS, ...read(SETTINGS, {}) };
export let conversations = read(CONVERSATIONS, []);

export const saveSettings = () => write(SETTINGS, settings);
export const save = () => write(CONVERSATIONS, conversations.filter((one) => one.turns.length).slice(0, MOST));

export function start() {
  const empty = conversations.find((one) => !one.turns.length);
  if (empty) return empty;
  const one = { id: crypto.randomUUID?.() ?? String(Math.random()), title: "", turns: [] };
  conversations.unshift(one);
  return one;
}

export function remove(one) {
  conversations = conversations.filter((other) => other !== one);
  save();
}

/** What was said before turn `end`, as messages of the API. */
export function messages(one, end) {
  const said = one.turns.slice(0, end).map((turn) =>
    turn.role === "user" ? { role: "user", content: turn.text }
      : { role: "assistant", content: turn.answers[turn.shown].text });
  return settings.system.trim() ? [{ role: "system", content: settings.system }, ...said] : said;
}
