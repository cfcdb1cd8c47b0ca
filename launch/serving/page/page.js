// The page: what is shown of conversations, and what happens when somebody asks, asks again, edits or votes.

import * as api from "/api.js";
import * as store from "/store.js";
import { button, icon, make, written } from "/text.js";

const $ = (id) => document.getElementById(id);
const { settings } = store;
let facts = { model: "", context: 0, most_tokens: 1024, tuned: true };
let current = store.start();
let running = null; // {answer, element, stop} while an answer comes

const mode = () => settings.mode || (facts.tuned ? "chat" : "text");

// ---- asking ---------------------------------------------------------------------------------------------

async function answer(turn) {
  const one = current, place = one.turns.indexOf(turn);
  const said = { text: "", seed: seed(), finish: null, vote: "none" };
  turn.answers.push(said);
  turn.shown = turn.answers.length - 1;
  const controller = new AbortController();
  running = { answer: said, turn, stop: () => controller.abort() };
  render();
  follow(true);
  try {
    const body = {
      model: facts.model, temperature: settings.temperature, top_p: settings.top_p, top_k: settings.top_k,
      max_tokens: Math.min(settings.max_tokens, facts.most_tokens), seed: said.seed,
    };
    const chat = mode() === "chat";
    Object.assign(body, chat ? { messages: store.messages(one, place) } : { prompt: one.turns[place - 1].text });
    said.finish = await api.stream(chat ? "/v1/chat/completions" : "/v1/completions", body, controller.signal,
      (part) => { said.text += part; paint(); });
  } catch (error) {
    if (error.name === "AbortError") said.finish = "stopped";
    else said.error = error.message;
  }
  running = null;
  store.save();
  render();
  follow(false);
}

function seed() {
  return settings.seed === "" ? Math.floor(Math.random() * 2 ** 31) : Number(settings.seed);
}

function ask(text) {
  if (!current.turns.length) current.title = text.trim().split("\n")[0].slice(0, 80);
  const turn = { role: "assistant", answers: [], shown: 0 };
  current.turns.push({ role: "user", text }, turn);
  answer(turn);
}

async function vote(turn, choice) {
  const one = turn.answers[turn.shown];
  const before = one.vote;
  one.vote = before === choice ? "none" : choice;
  render();
  try {
    const { comparisons } = await api.vote({
      model: facts.model, messages: store.messages(current, current.turns.indexOf(turn)),
      answer: one.text, vote: one.vote,
    });
    const many = comparisons === 1 ? "1 comparison" : `${comparisons} comparisons`;
    toast(comparisons ? `Kept: ${many} to learn from` : "Kept. Ask again and vote on that answer, too: two make a comparison");
  } catch (error) {
    one.vote = before;
    toast(error.message);
  }
  store.save();
  render();
}

// ---- what is shown --------------------------------------------------------------------------------------

function render() {
  renderList();
  $("title").textContent = current.title || "New conversation";
  $("log").replaceChildren(...(current.turns.length ? current.turns.map(shown) : [greeting()]));
  $("send").replaceChildren(icon(running ? "stop" : "send"));
  $("send").setAttribute("aria-label", running ? "Stop the answer" : "Send");
  $("send").classList.toggle("busy", Boolean(running));
  $("text").placeholder = mode() === "chat" ? "Message" : "A text to go on with";
  ready();
}

function renderList() {
  $("list").replaceChildren(...store.conversations.map((one) => {
    const open = make("button", { className: "open", textContent: one.title || "New conversation" });
    open.onclick = () => go(one);
    if (one === current) open.setAttribute("aria-current", "true");
    const gone = button("bin", "Delete this conversation", () => discard(one));
    return make("li", {}, open, gone);
  }));
}

function discard(one) {
  if (one.turns.length && !confirm(`Delete "${one.title}"?`)) return;
  store.remove(one);
  if (one === current) go(store.start());
  else render();
}

function greeting() {
  const words = facts.tuned ? "Ask something." : "Begin a text, and the model goes on with it.";
  const note = facts.tuned ? "" : "This model was pretrained and not tuned on conversations.";
  return make("div", { className: "greeting" }, icon("flame"),
    make("h2", { textContent: words }), make("p", { textContent: note || facts.model }));
}

function shown(turn) {
  return turn.role === "user" ? asked(turn) : answered(turn);
}

function asked(turn) {
  const bubble = make("div", { className: "bubble" }, ...written(turn.text));
  const tools = make("div", { className: "tools" }, button("edit", "Edit this message", () => edit(turn, element)),
    button("copy", "Copy", () => copy(turn.text)));
  if (running) tools.firstChild.disabled = true;
  const element = make("article", { className: "turn user" }, bubble, tools);
  element.setAttribute("aria-label", "You");
  return element;
}

function answered(turn) {
  const one = turn.answers[turn.shown], busy = running?.answer === one;
  const words = make("div", { className: busy ? "words busy" : "words" }, ...body(turn, one));
  if (busy) running.element = words;
  const element = make("article", { className: "turn model-turn" }, words);
  element.setAttribute("aria-label", "The model");
  if (one.error) element.append(make("p", { className: "error", role: "alert", textContent: one.error }));
  if (!busy) element.append(toolsOf(turn, one));
  return element;
}

function body(turn, one) {
  return one.text ? written(one.text) : running?.answer === one ? [make("span", { className: "waiting" })]
    : one.error ? [] : [make("p", { className: "quiet", textContent: "The answer is empty." })];
}

function toolsOf(turn, one) {
  const tools = make("div", { className: "tools" });
  if (turn.answers.length > 1) {
    const step = (by) => { turn.shown += by; store.save(); render(); };
    const back = button("left", "The answer before", () => step(-1)), next = button("right", "The answer after", () => step(1));
    back.disabled = turn.shown === 0;
    next.disabled = turn.shown === turn.answers.length - 1;
    tools.append(back, make("span", { className: "count", textContent: `${turn.shown + 1}/${turn.answers.length}` }), next);
  }
  if (one.text && mode() === "chat" && one.finish && one.finish !== "stopped") {
    for (const [choice, name, label] of [["up", "up", "A good answer"], ["down", "down", "A bad answer"]]) {
      const thumb = button(name, label, () => vote(turn, choice));
      thumb.setAttribute("aria-pressed", String(one.vote === choice));
      tools.append(thumb);
    }
  }
  if (one.text) tools.append(button("copy", "Copy", () => copy(one.text)));
  if (turn === current.turns.at(-1)) {
    const again = button("again", "Ask again", () => answer(turn));
    again.disabled = Boolean(running);
    tools.append(again);
  }
  const notes = { length: "ended at the most tokens", stopped: "stopped" };
  tools.append(make("span", { className: "note", textContent: [notes[one.finish], `seed ${one.seed}`].filter(Boolean).join(" · ") }));
  return tools;
}

let painting = false;
function paint() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => {
    painting = false;
    if (!running?.element?.isConnected) return;
    running.element.replaceChildren(...body(running.turn, running.answer));
    follow(false);
  });
}

/** Stay at the end while answers come, unless somebody has scrolled away from it. */
function follow(always) {
  const scroll = $("scroll");
  if (always || scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 120) scroll.scrollTop = scroll.scrollHeight;
}

function edit(turn, element) {
  const area = make("textarea", { value: turn.text });
  area.setAttribute("aria-label", "Edit the message");
  const keep = () => {
    if (!area.value.trim() || running) return;
    const place = current.turns.indexOf(turn);
    current.turns.length = place;
    if (!place) current.title = "";
    ask(area.value);
  };
  const cancel = make("button", { type: "button", className: "plain", textContent: "Cancel", onclick: render });
  const done = make("button", { type: "button", className: "strong", textContent: "Ask", onclick: keep });
  area.onkeydown = (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); keep(); }
    if (event.key === "Escape") { event.stopPropagation(); render(); $("text").focus(); }
  };
  element.replaceChildren(make("div", { className: "editor" }, area, make("div", { className: "row end" }, cancel, done)));
  grow(area);
  area.oninput = () => grow(area);
  area.focus();
}

async function copy(text) {
  if (!navigator.clipboard) return toast("Browsers copy from localhost and https alone");
  await navigator.clipboard.writeText(text);
  toast("Copied");
}

let fading = 0;
function toast(words) {
  $("toast").textContent = words;
  $("toast").classList.add("on");
  clearTimeout(fading);
  fading = setTimeout(() => $("toast").classList.remove("on"), 3000);
}

function go(one) {
  running?.stop();
  current = one;
  document.body.classList.remove("listing");
  render();
  follow(true);
  $("text").focus();
}

// ---- writing --------------------------------------------------------------------------------------------

function grow(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight, 240)}px`;
}

const ready = () => { $("send").disabled = !running && !$("text").value.trim(); };

function submit() {
  const area = $("text");
  if (running) return running.stop();
  if (!area.value.trim()) return;
  const text = area.value;
  area.value = "";
  grow(area);
  ask(text);
}

$("composer").onsubmit = (event) => { event.preventDefault(); submit(); };
$("text").oninput = () => { grow($("text")); ready(); };
$("text").onkeydown = (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    if (!running) submit();
  }
  if (event.key === "ArrowUp" && !$("text").value && !running) {
    const mine = [...document.querySelectorAll(".turn.user .tools button:first-child")].pop();
    if (mine) { event.preventDefault(); mine.click(); }
  }
};
document.addEventListener("keydown", (event) => {
  const writing = event.target.closest("textarea, input, select, dialog");
  if (event.key === "Escape" && !event.target.closest("dialog")) {
    running?.stop();
    document.body.classList.remove("listing");
  }
  if (event.altKey && event.code === "KeyN") { event.preventDefault(); go(store.start()); }
  if (event.key === "/" && !writing) { event.preventDefault(); $("text").focus(); }
});

// ---- settings -------------------------------------------------------------------------------------------

const form = $("settings").querySelector("form");
const numbers = new Set(["temperature", "top_p", "top_k", "max_tokens"]);

function showSettings() {
  for (const [name, value] of Object.entries(settings)) form.elements[name].value = value;
  form.elements.mode.value = mode();
  form.elements.max_tokens.max = facts.most_tokens;
  outputs();
}

function outputs() {
  for (const slider of form.querySelectorAll("input[type=range]")) slider.nextElementSibling.value = Number(slider.value).toFixed(2);
}

function takeSettings() {
  for (const name of Object.keys(settings)) {
    const field = form.elements[name];
    if (!field.checkValidity()) continue;
    if (numbers.has(name)) settings[name] = field.value === "" ? store.DEFAULTS[name] : Number(field.value);
    else settings[name] = field.value;
  }
  outputs();
  store.saveSettings();
  appearance();
}

function appearance() {
  if (settings.theme) document.documentElement.dataset.theme = settings.theme;
  else delete document.documentElement.dataset.theme;
}

form.oninput = takeSettings;
$("defaults").onclick = () => { Object.assign(settings, store.DEFAULTS); showSettings(); takeSettings(); };
$("settings-button").onclick = () => { showSettings(); $("settings").showModal(); };
$("settings").onclose = () => { render(); $("text").focus(); };
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.onclick = (event) => { if (event.target === dialog && dialog.id !== "key") dialog.close(); };
}
$("new").onclick = () => go(store.start());
$("menu-button").onclick = () => document.body.classList.add("listing");
$("hide").onclick = $("veil").onclick = () => document.body.classList.remove("listing");

api.onKeyNeeded(() => new Promise((resolve) => {
  const dialog = $("key"), field = dialog.querySelector("input");
  dialog.oncancel = (event) => event.preventDefault();
  dialog.onclose = () => { resolve(field.value); field.value = ""; };
  dialog.showModal();
}));

async function begin() {
  appearance();
  render();
  try {
    facts = await api.about();
  } catch (error) {
    toast(error.message);
  }
  const kinds = { decoder: "decoder", encoder_decoder: "encoder and decoder" };
  $("model").textContent = facts.model;
  $("facts").textContent = `${kinds[facts.architecture] ?? "model"} · step ${facts.step} · reads ${facts.context} tokens`;
  $("hint").textContent = `${facts.model} can be wrong.`;
  document.title = `${facts.model} · Bloomery`;
  render();
  $("text").focus();
}

begin();
