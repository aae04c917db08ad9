// What leaves the page: a CSV table, a report in one file, paper.

import { element } from "./element.js";
import { printed } from "./picture.js";
import { detail } from "./view.js";

const PAPER_PX = 448;

export function save(name, type, parts) {
  const link = element("a", { href: URL.createObjectURL(new Blob(parts, { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Unique names of all images, as lesionlab.inference.image_sources.unique_names: a stem that was seen gives way to the path, where the browser
// tells one, or to the file's name; that, seen, gets a number.
function names(items) {
  const seen = new Set();
  return new Map(items.map((item) => {
    const where = item.file.path || item.file.webkitRelativePath || item.file.name;
    let name = item.file.name.replace(/(.)\.[^.]+$/s, "$1");
    for (let number = 1; seen.has(name); number++) name = number === 1 ? where : `${where}#${number}`;
    seen.add(name);
    return [item, name];
  }));
}

// ISIC's columns, as `lesionlab predict --out` writes them; images without an answer have no row.
export function csv(items, model) {
  const cell = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const nameOf = names(items);
  const rows = items.filter((item) => item.result).map((item) =>
    [cell(nameOf.get(item)), ...model.classes.map((dx) => item.result.probabilities[dx])].join(","));
  return `${[["image", ...model.columns].map(cell).join(","), ...rows].join("\n")}\n`;
}

// A sheet of paper an image, one after the other: of hundreds of images only one is held at full size at a time.
export async function* sheets(items, model, settings) {
  for (const item of items) {
    const image = item.result ? await printed(item, model, settings, PAPER_PX) : null;
    yield element("article", { className: "detail sheet", ariaLabel: item.file.name },
      element("p", { className: "sheet-notice" }, model.notice), ...detail(item, model, settings, { still: { image } }));
  }
}

// One file that holds everything: the parts of a Blob. Sheets are serialised by the browser, which escapes file names.
export async function report(items, model, settings, { words, told }) {
  const style = [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules]).map((rule) => rule.cssText).join("\n");
  const time = new Date().toLocaleString();
  const parts = [`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>lesionlab, ${time}</title>
<style>${style}</style></head>
<body>
`, element("h1", {}, "lesionlab").outerHTML, element("p", { className: "notice" }, model.notice).outerHTML,
  element("p", { className: "quiet" }, `${words} ${time}, model ${model.name} (lesionlab ${model.version}).`).outerHTML,
  element("p", { className: "quiet" }, `Trained on ${model.training_data}.`).outerHTML];
  let count = 0;
  for await (const sheet of sheets(items, model, settings)) {
    parts.push("\n", sheet.outerHTML);
    told(++count);
  }
  return [...parts, "\n</body>\n</html>\n"];
}
