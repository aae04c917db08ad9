// The page: images in, a gallery and one image in detail out. Which engine answers, a meta element says.

import { detail, element, entry, inWords } from "./view.js";

const engineName = document.querySelector("meta[name=lesionlab-engine]").content;
const engine = await import(engineName === "browser" ? "./engine-browser.js" : "./engine-server.js");
const at = (id) => document.getElementById(id);
const LOOK_PX = 1024;
const items = [];
const settings = { opacity: 0.6, dx: null };
let model, current = null, underWay = 0, added = 0;

at("privacy").textContent = engine.privacy;
try {
  model = await engine.start((share) => { at("model").textContent = `loading the model, ${Math.round(100 * share)} % …`; });
  at("model").textContent = `model ${model.name}, lesionlab ${model.version}`;
  document.body.dataset.ready = "true";
} catch (error) {
  at("model").textContent = `The model could not be loaded: ${error.message}. Reload the page.`;
}

async function add(files) {
  for (const file of files) items.push({ file, order: added++ });
  at("results").hidden = items.length === 0;
  current ??= items[0];
  show();
  work();
}

function work() {
  while (model && underWay < engine.atOnce) {
    const item = items.find((candidate) => !candidate.begun);
    if (!item) return;
    item.begun = true;
    underWay++;
    answer(item).finally(() => { underWay--; show(item); work(); });
  }
}

async function answer(item) {
  item.bitmap = await small(item.file);
  show(item);
  const limit = model.limits?.file_bytes;
  if (limit && item.file.size > limit) {
    item.error = { code: "too_large", reason: `The file has ${(item.file.size / 1e6).toFixed(0)} MB; at most ${limit / 1e6} MB are taken. Save a smaller copy.` };
    return;
  }
  try {
    Object.assign(item, await engine.predict(item.file, model));
  } catch (error) {
    item.error = { code: "failed", reason: `No answer came (${error.message}). Is the service still running?` };
  }
}

// Enough of a picture to look at; null where this browser cannot read the format, which the engine may.
async function small(file) {
  const whole = await createImageBitmap(file).catch(() => null);
  if (!whole || Math.max(whole.width, whole.height) <= LOOK_PX) return whole;
  const factor = LOOK_PX / Math.max(whole.width, whole.height);
  const size = { resizeWidth: Math.round(factor * whole.width), resizeHeight: Math.round(factor * whole.height) };
  const reduced = await createImageBitmap(whole, { ...size, resizeQuality: "high" });
  whole.close();
  return reduced;
}

function listed() {
  const order = {
    order: (a, b) => a.order - b.order,
    name: (a, b) => a.file.name.localeCompare(b.file.name),
    malignant: (a, b) => (b.result?.malignant_probability ?? -1) - (a.result?.malignant_probability ?? -1),
    uncertainty: (a, b) => (b.result?.uncertainty ?? -1) - (a.result?.uncertainty ?? -1),
  }[at("sort").value];
  const [decision, diagnosis] = [at("decision").value, at("diagnosis").value];
  return items
    .filter((item) => !decision || (item.begun && (item.error || item.result) && inWords(item) === decision))
    .filter((item) => !diagnosis || item.result?.dx === diagnosis)
    .sort(order);
}

function options(select, values) {
  const chosen = select.value;
  select.replaceChildren(element("option", { value: "" }, "all"),
    ...values.map(([value, text]) => element("option", { value, selected: value === chosen }, text)));
}

function show(changed = null) {
  if (!model) return;
  const done = items.filter((item) => item.result || item.error).length;
  at("status").textContent = done < items.length ? `${done} of ${items.length} answered` : `${items.length} ${items.length === 1 ? "image" : "images"} answered`;
  at("progress").hidden = done === items.length;
  at("progress").value = items.length ? done / items.length : 0;
  options(at("decision"), [...new Set(items.filter((i) => i.result || i.error).map(inWords))].map((text) => [text, text]));
  options(at("diagnosis"), [...new Set(items.filter((i) => i.result).map((i) => i.result.dx))].map((dx) => [dx, model.class_names[model.classes.indexOf(dx)]]));
  showGallery();
  if (!changed || changed === current) showDetail();
}

function showGallery() {
  const focused = document.activeElement?.closest?.(".gallery li");
  const index = focused ? [...at("gallery").children].indexOf(focused) : -1;
  at("gallery").replaceChildren(...listed().map((item) => entry(item, model, item === current, () => {
    current = item;
    showGallery();
    showDetail();
    if (window.matchMedia("(max-width: 44rem)").matches) at("detail").scrollIntoView({ block: "start" });
  })));
  if (index >= 0) at("gallery").children[Math.min(index, at("gallery").children.length - 1)]?.querySelector("button").focus();
}

function showDetail() {
  at("detail").hidden = !current;
  if (current) at("detail").replaceChildren(...detail(current, model, settings));
}

function save(name, type, text) {
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function csv() {
  const cell = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = items.filter((item) => item.result).map((item) =>
    [cell(item.file.name.replace(/\.[^.]+$/, "")), ...model.classes.map((dx) => item.result.probabilities[dx])].join(","));
  return ["image," + model.classes.map((dx) => dx.toUpperCase()).join(","), ...rows].join("\n") + "\n";
}

function sheets() {
  return listed().filter((item) => item.result || item.error).map((item) =>
    element("article", { className: "detail sheet" }, ...detail(item, model, { ...settings })));
}

// One file that holds everything. The body is serialised by the browser, which escapes file names; the rest is our own text.
async function report() {
  const time = new Date().toLocaleString();
  const body = element("body", {}, element("h1", {}, "lesionlab"),
    element("p", { className: "quiet" }, `${items.length} images, ${time}, model ${model.name} (lesionlab ${model.version})`),
    element("p", { className: "notice" }, model.notice));
  for (const sheet of sheets()) {
    for (const canvas of sheet.querySelectorAll("canvas")) {
      canvas.replaceWith(element("img", { src: canvas.toDataURL("image/jpeg", 0.85), alt: canvas.ariaLabel, width: 300 }));
    }
    sheet.querySelectorAll(".controls").forEach((node) => node.remove());
    body.append(sheet);
  }
  const style = await (await fetch("style.css")).text();
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>lesionlab, ${time}</title>
<style>${style}</style></head>
${body.outerHTML}
</html>
`;
}

function print() {
  const holder = element("div", { className: "print-only" }, ...sheets());
  at("detail").before(holder);
  window.addEventListener("afterprint", () => holder.remove(), { once: true });
  window.print();
}

const stamp = () => new Date().toISOString().slice(0, 16).replace(":", "");
at("choose").onclick = () => at("files").click();
at("photograph").onclick = () => at("camera").click();
for (const input of [at("files"), at("camera")]) {
  input.onchange = () => { add([...input.files]); input.value = ""; };
}
for (const id of ["sort", "decision", "diagnosis"]) at(id).onchange = showGallery;
at("csv").onclick = () => save(`lesionlab-${stamp()}.csv`, "text/csv", csv());
at("report").onclick = async () => save(`lesionlab-${stamp()}.html`, "text/html", await report());
at("print").onclick = print;
at("clear").onclick = () => {
  items.forEach((item) => item.bitmap?.close());
  items.length = 0;
  current = null;
  at("results").hidden = true;
  at("choose").focus();
};
document.addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) at("drop").classList.remove("over"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  add([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) add([...event.clipboardData.files]); });
document.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const button = document.activeElement?.closest?.(".gallery button");
  if (!step || !button) return;
  event.preventDefault();
  const buttons = [...at("gallery").querySelectorAll("button")];
  const next = buttons[buttons.indexOf(button) + step];
  next?.focus();
  next?.click();
});
