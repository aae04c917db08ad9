// The page: images in, a gallery and one image in detail out. Which engine answers, a meta element says.
//
// Of each image the page holds its File and a thumbnail; larger pictures are read again when they are looked at, so that
// hundreds of photographs fit into a phone.

import { element } from "./element.js";
import { showExamples } from "./examples.js";
import { readHeader, tooLarge } from "./header.js";
import { dropped, ofFolder } from "./intake.js";
import { csv, report, save, sheets } from "./output.js";
import { isHalfTyped } from "./patient.js";
import { drawPicture, reduced } from "./picture.js";
import { aboutModel, detail, entry, inWords, isUnanswered, updateEntry } from "./view.js";

const at = (id) => document.getElementById(id);
at("late").remove();
const engineName = document.querySelector("meta[name=lesionlab-engine]").content;
const engine = await import(engineName === "browser" ? "./engine-browser.js" : "./engine-server.js");
const THUMB_PX = 128;
const ASKS_FROM = 10; // images: to lose more than these by one click would hurt
const settings = { opacity: 0.6, dx: null };
let items = [];
let model, current = null, underWay = 0, added = 0, refreshing = 0;

at("privacy").textContent = engine.privacy;
function add(files) {
  engine.again();
  for (const file of files) {
    const item = { file, order: added++ };
    item.entry = entry(item, () => choose(item));
    updateEntry(item);
    items.push(item);
  }
  if (!current && items.length) choose(items[0]);
  refresh();
  work();
}

function work() {
  while (model && underWay < engine.atOnce) {
    const item = current && !current.begun ? current : items.find((candidate) => !candidate.begun);
    if (!item) return;
    item.begun = true;
    item.stop = new AbortController();
    underWay++;
    answer(item).finally(() => {
      underWay--;
      work();
      if (item.stop.signal.aborted) return;
      updateEntry(item);
      refresh();
      if (item === current) showDetail();
    });
  }
}

async function answer(item) {
  updateEntry(item);
  item.error = item.result = undefined;
  const large = tooLarge(item.file.size, model.limits);
  try {
    if (large) throw large;
    await prepare(item);
    Object.assign(item, await engine.predict(item.file, model, item.stop.signal, item.patient));
  } catch (error) {
    item.error = worded(error);
  }
}

function worded(error) {
  const reason = error instanceof TypeError ? `no response (${error.message}). Is the service still running?` : error.message;
  return { code: error.code ?? "failed", reason };
}

// Look at the file: what it is, and a thumbnail. What is too large to be decoded is not; the engine says why.
async function prepare(item) {
  try {
    const { format, orientation } = readHeader(new Uint8Array(await item.file.arrayBuffer()), model.limits);
    Object.assign(item, { format, orientation });
  } catch {
    return;
  }
  const look = await reduced(item);
  if (!look) return;
  item.size = [look.width, look.height];
  drawPicture(item.entry.thumb, look.bitmap, model, THUMB_PX);
  look.bitmap.close();
}

function listed() {
  const by = (value) => (a, b) => value(b) - value(a) || a.order - b.order;
  const orders = {
    order: (a, b) => a.order - b.order,
    name: (a, b) => a.file.name.localeCompare(b.file.name, undefined, { numeric: true }),
    malignant: by((item) => item.result?.malignant_probability ?? -1),
    uncertainty: by((item) => item.result?.uncertainty ?? -1),
  };
  const [decision, diagnosis] = [at("decision").value, at("diagnosis").value];
  return items
    .filter((item) => !decision || ((item.error || item.result) && inWords(item) === decision))
    .filter((item) => !diagnosis || item.result?.dx === diagnosis)
    .sort(orders[at("sort").value]);
}

function options(select, values) {
  if (select.dataset.values === JSON.stringify(values)) return;
  select.dataset.values = JSON.stringify(values);
  const chosen = select.value;
  select.replaceChildren(element("option", { value: "" }, "all"),
    ...values.map(([value, text]) => element("option", { value, selected: value === chosen }, text)));
}

// Bring counts, filters and the gallery up to date, soon: answers that come together do so together.
function refresh() {
  refreshing ||= setTimeout(() => {
    refreshing = 0;
    showCounts();
    arrange();
  }, 30);
}

function showCounts() {
  at("results").hidden = items.length === 0;
  const done = items.filter((item) => item.result || item.error);
  const count = `${items.length} ${items.length === 1 ? "image" : "images"}`;
  at("status").textContent = !model ? `${count} waiting for the model` : done.length < items.length ? `${done.length} of ${items.length} done` : `${count} done`;
  at("progress").hidden = done.length === items.length;
  at("progress").value = items.length ? done.length / items.length : 0;
  const unanswered = done.filter(isUnanswered).length;
  at("again").hidden = unanswered === 0;
  at("again").textContent = `Try again: ${unanswered}`;
  if (!model) return;
  options(at("decision"), [...new Set(done.map(inWords))].sort().map((text) => [text, text]));
  const found = new Set(done.map((item) => item.result?.dx));
  options(at("diagnosis"), model.classes.map((dx, index) => [dx, model.class_names[index]]).filter(([dx]) => found.has(dx)));
}

// Put the entries into their order; those that are in place already are not touched.
function arrange() {
  const gallery = at("gallery");
  const focused = gallery.contains(document.activeElement) ? document.activeElement : null;
  const wanted = listed().map((item) => item.entry.node);
  const kept = new Set(wanted);
  for (const node of [...gallery.children]) if (!kept.has(node)) node.remove();
  let place = gallery.firstChild;
  for (const node of wanted) {
    if (node === place) place = place.nextSibling;
    else gallery.insertBefore(node, place);
  }
  if (focused && document.activeElement !== focused) (focused.isConnected ? focused : gallery.querySelector("button"))?.focus();
  at("none").hidden = wanted.length > 0 || items.length === 0;
}

function choose(item) {
  if (current) current.entry.button.ariaCurrent = "false";
  if (current !== item) release(current);
  current = item;
  item.entry.button.ariaCurrent = "true";
  showDetail();
  if (window.matchMedia("(max-width: 44rem)").matches && items.length > 1) at("detail").scrollIntoView({ block: "start" });
}

function release(item) {
  item?.bitmap?.close();
  if (item) item.bitmap = undefined;
}

// The detail is made anew when an answer or a picture comes; the focus stays on the same control, else on the detail.
function renewDetail(nodes) {
  const pane = at("detail");
  const held = pane.contains(document.activeElement) ? document.activeElement : null;
  pane.replaceChildren(...nodes);
  if (!held) return;
  const same = [...pane.querySelectorAll(held.localName)].find((node) => (held.id ? node.id === held.id : node.textContent === held.textContent));
  (same ?? pane).focus({ preventScroll: true });
}

const showDetailSoon = () => setTimeout(showDetail); // when the focus has gone where it goes

async function showDetail() {
  at("detail").hidden = !current;
  if (!current || !model) return;
  const item = current;
  const button = (text, onclick) => element("button", { type: "button", className: "small", onclick }, text);
  const actions = [button("Remove", () => remove([item]))];
  if (isUnanswered(item)) actions.unshift(button("Try again", () => repeat([item])));
  if (isHalfTyped(document.activeElement, item)) return void document.activeElement.addEventListener("blur", showDetailSoon, { once: true });
  renewDetail(detail(item, model, settings, { actions, knows: (patient) => askAgain(item, patient) }));
  if (!item.result || item.bitmap !== undefined) return;
  const look = item.size ? await reduced(item) : null;
  if (item !== current || item.bitmap !== undefined) return void look?.bitmap.close();
  item.bitmap = look?.bitmap ?? null;
  showDetail();
}

// What is known of the patient has changed: ask once more. The answer of before stays until the new one is there.
async function askAgain(item, patient) {
  item.patient = patient;
  const asked = await engine.predict(item.file, model, item.stop.signal, patient).catch((error) => ({ error: worded(error) }));
  if (item.patient !== patient || item.stop.signal.aborted) return;
  Object.assign(item, { error: undefined, result: undefined }, asked);
  updateEntry(item);
  refresh();
  if (item === current) showDetail();
}

function remove(removed) {
  const gone = new Set(removed);
  for (const item of gone) {
    item.begun = true;
    item.stop ??= new AbortController();
    item.stop.abort();
  }
  const next = items[items.indexOf(current) + 1] ?? items[items.indexOf(current) - 1];
  items = items.filter((item) => !gone.has(item));
  if (gone.has(current)) {
    release(current);
    current = null;
    if (items.includes(next)) choose(next);
    else showDetail();
  }
  showCounts();
  arrange();
  (current ? current.entry.button : at("choose")).focus();
}

function repeat(failed) {
  engine.again();
  for (const item of failed) item.begun = item.error = undefined;
  failed.forEach(updateEntry);
  refresh();
  showDetail();
  work();
}

function words(shown) {
  const some = shown.length === items.length ? `${items.length} ${items.length === 1 ? "image" : "images"}` : `${shown.length} of ${items.length} images`;
  const chosen = ["decision", "diagnosis"].filter((id) => at(id).value).map((id) => `${id} “${at(id).selectedOptions[0].text}”`);
  return `${some}${chosen.length ? `, ${chosen.join(", ")}` : ""}.`;
}

const answered = () => listed().filter((item) => item.result || item.error);
const stamp = () => new Date().toISOString().slice(0, 16).replace(":", "");

// Do something that takes a while, once at a time, and say how far it is.
async function busily(button, what, total, work) {
  button.disabled = true;
  try {
    await work((count) => { at("status").textContent = `${what}, ${count} of ${total} …`; });
    showCounts();
  } catch (error) {
    at("status").textContent = `${what} failed: ${error.message}`;
  } finally {
    button.disabled = false;
  }
}

at("report").onclick = () => {
  const shown = answered();
  busily(at("report"), "Writing the report", shown.length, async (told) =>
    save(`lesionlab-${stamp()}.html`, "text/html", await report(shown, model, settings, { words: words(shown), told })));
};
at("print").onclick = () => {
  const shown = answered();
  busily(at("print"), "Preparing the pages", shown.length, async (told) => {
    const holder = element("div", { className: "print-only" }, element("p", { className: "quiet" },
      `${words(shown)} ${new Date().toLocaleString()}, model ${model.name} (lesionlab ${model.version}).`));
    for await (const sheet of sheets(shown, model, settings)) {
      holder.append(sheet);
      told(holder.childElementCount - 1);
    }
    at("results").before(holder);
    document.body.classList.add("printing");
    window.addEventListener("afterprint", () => {
      holder.remove();
      document.body.classList.remove("printing");
    }, { once: true });
    await Promise.all([...holder.querySelectorAll("img")].map((image) => image.decode().catch(() => {})));
    window.print();
  });
};
at("csv").onclick = () => save(`lesionlab-${stamp()}.csv`, "text/csv", [csv(items, model)]);
at("clear").onclick = () => {
  if (items.length <= ASKS_FROM || window.confirm(`Remove all ${items.length} images and their predictions from this page?`)) remove(items);
};
at("again").onclick = () => repeat(items.filter(isUnanswered));
at("reload").onclick = () => location.reload();
for (const id of ["sort", "decision", "diagnosis"]) at(id).onchange = arrange;
for (const [button, input] of [["choose", "files"], ["folder", "directory"], ["photograph", "camera"]]) {
  at(button).onclick = () => at(input).click();
  at(input).onchange = () => {
    const files = [...at(input).files];
    add(input === "directory" ? ofFolder(files) : files);
    at(input).value = "";
  };
}
document.addEventListener("dragover", (event) => { event.preventDefault(); at("drop").classList.add("over"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) at("drop").classList.remove("over"); });
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  add(await dropped(event.dataTransfer));
});
document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) add([...event.clipboardData.files]); });
at("gallery").addEventListener("keydown", (event) => {
  const buttons = [...at("gallery").querySelectorAll("button")];
  const place = buttons.indexOf(document.activeElement);
  const to = { ArrowDown: place + 1, ArrowRight: place + 1, ArrowUp: place - 1, ArrowLeft: place - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (event.key === "Delete" && place >= 0) at("detail").querySelector("header button:last-of-type")?.click();
  if (to === undefined || place < 0) return;
  event.preventDefault();
  buttons[to]?.focus();
  buttons[to]?.click();
});

try {
  model = await engine.start((share) => { at("model").textContent = `loading the model, ${Math.floor(100 * share)} % …`; });
  at("model").hidden = true;
  at("about").hidden = false;
  at("about").replaceChildren(...aboutModel(model));
  document.body.dataset.ready = "true";
  refresh();
  work();
} catch (error) {
  at("model").textContent = "no model";
  at("failed").hidden = false;
  at("failed-why").textContent = `The model could not be loaded: ${error.message}.`;
}
if (model) await showExamples(model.examples, engine.file, add);
