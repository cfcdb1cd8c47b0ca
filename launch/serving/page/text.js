// What a model or a person has written, as elements. Nothing of it is ever read as HTML.

export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

export function button(name, label, act) {
  const element = make("button", { type: "button", className: "icon", title: label, onclick: act }, icon(name));
  element.setAttribute("aria-label", label);
  return element;
}

/** Text with its blocks and pieces of code set apart. */
export function written(text) {
  const parts = [];
  const fence = /```([^\n`]*)\n([\s\S]*?)(?:\n?```|$)/g;
  let place = 0;
  for (const found of text.matchAll(fence)) {
    parts.push(prose(text.slice(place, found.index)), block(found[1].trim(), found[2]));
    place = found.index + found[0].length;
  }
  parts.push(prose(text.slice(place)));
  return parts.filter(Boolean);
}

function prose(text) {
  const trimmed = text.replace(/^\n+|\s+$/g, "");
  if (!trimmed) return null;
  const spans = trimmed.split(/(`[^`\n]{1,120}`)/g).filter(Boolean).map((part) =>
    /^`[^`\n]{1,120}`$/.test(part) ? make("code", { textContent: part.slice(1, -1) }) : part);
  return make("p", {}, ...spans);
}

function block(language, text) {
  const head = make("div", { className: "code-head" }, make("span", { textContent: language || "code" }));
  if (navigator.clipboard) head.append(button("copy", "Copy the code", () => navigator.clipboard.writeText(text)));
  return make("div", { className: "code" }, head, make("pre", {}, make("code", { textContent: text })));
}
