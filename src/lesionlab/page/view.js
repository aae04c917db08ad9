// One answer in, DOM out. Text only ever through textContent: file names may hold markup.

const VIRIDIS = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
const STRENGTH = 0.75;
export const PICTURE_PX = 448;

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "share") node.style.setProperty("--share", value);
    else if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

export const percent = (share) => `${(100 * share).toFixed(share > 0.995 || share < 0.095 ? 1 : 0)} %`;
export const kind = (item) => (item.error ? "error" : item.result.decision.replaceAll(" ", "-"));
export const inWords = (item) =>
  item.error ? "could not be read" : { uncertain: "not sure" }[item.result.decision] ?? item.result.decision;

// The part of a picture that the model sees, drawn on a canvas of the model's shape.
export function drawPicture(canvas, bitmap, model, longest) {
  const scale = longest / Math.max(model.width, model.height);
  canvas.width = Math.round(model.width * scale);
  canvas.height = Math.round(model.height * scale);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (!bitmap) return;
  let [left, top, width, height] = [0, 0, bitmap.width, bitmap.height];
  if (model.crop === "centre") {
    const factor = Math.min(width / model.width, height / model.height);
    [width, height] = [factor * model.width, factor * model.height];
    [left, top] = [(bitmap.width - width) / 2, (bitmap.height - height) / 2];
  }
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, left, top, width, height, 0, 0, canvas.width, canvas.height);
}

// How much each place speaks for a diagnosis rather than for the others, 0 to 1: as lesionlab.overlay.relevance.
export function relevance(maps, dx) {
  const own = maps.values[maps.classes.indexOf(dx)];
  const values = own.map((value, place) => {
    const mean = maps.values.reduce((sum, row) => sum + row[place], 0) / maps.values.length;
    return Math.max(0, value - mean);
  });
  const largest = Math.max(...values, 1e-9);
  return values.map((value) => value / largest);
}

function colour(value) {
  const at = Math.min(value, 0.9999) * (VIRIDIS.length - 1);
  const [low, high, part] = [VIRIDIS[Math.floor(at)], VIRIDIS[Math.floor(at) + 1], at % 1];
  return low.map((channel, index) => Math.round(channel + part * (high[index] - channel)));
}

// The map laid over a picture that is on the canvas already; opacity 0 to 1. The grid is scaled up smoothly.
export function drawMap(canvas, maps, dx, opacity) {
  const values = relevance(maps, dx);
  const context = canvas.getContext("2d");
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  const at = (row, column) =>
    values[Math.min(Math.max(row, 0), maps.height - 1) * maps.width + Math.min(Math.max(column, 0), maps.width - 1)];
  for (let y = 0; y < canvas.height; y++) {
    const v = ((y + 0.5) / canvas.height) * maps.height - 0.5;
    const [top, down] = [Math.floor(v), v - Math.floor(v)];
    for (let x = 0; x < canvas.width; x++) {
      const u = ((x + 0.5) / canvas.width) * maps.width - 0.5;
      const [left, right] = [Math.floor(u), u - Math.floor(u)];
      const value =
        (at(top, left) * (1 - right) + at(top, left + 1) * right) * (1 - down) +
        (at(top + 1, left) * (1 - right) + at(top + 1, left + 1) * right) * down;
      const share = opacity * STRENGTH * value;
      const place = 4 * (y * canvas.width + x);
      colour(value).forEach((channel, index) => {
        pixels.data[place + index] += share * (channel - pixels.data[place + index]);
      });
    }
  }
  context.putImageData(pixels, 0, 0);
}

// The gallery's entry of an image.
export function entry(item, model, isCurrent, choose) {
  const canvas = element("canvas", { ariaHidden: "true" });
  drawPicture(canvas, item.bitmap, model, 128);
  const says = item.error
    ? item.error.reason
    : item.result ? `${item.result.name} ${percent(item.result.probabilities[item.result.dx])}` : "waiting …";
  const badge = item.error || item.result ? element("span", { className: `badge ${kind(item)}` }, inWords(item)) : "";
  return element("li", {}, element("button", { type: "button", ariaCurrent: String(isCurrent), onclick: choose },
    canvas, element("span", { className: "cell" },
      element("span", { className: "name" }, item.file.name), badge, element("span", { className: "says" }, says))));
}

function probabilities(result, model) {
  const rows = Object.entries(result.probabilities).sort((a, b) => b[1] - a[1]).map(([dx, share]) =>
    element("tr", {},
      element("th", { scope: "row", className: dx === result.dx ? "top-one" : "" },
        model.class_names[model.classes.indexOf(dx)]),
      element("td", { className: "track" }, element("span", { share, ariaHidden: "true" })),
      element("td", { className: "n" }, percent(share))));
  return element("table", {}, element("caption", { className: "quiet" }, "Probabilities of the seven diagnoses"),
    element("tbody", {}, ...rows));
}

function sentence(item, model) {
  const result = item.result;
  const malignant = `melanoma, basal cell carcinoma or actinic keratosis: ${percent(result.malignant_probability)}`;
  const line = model.thresholds.malignant ?? 0.5;
  const texts = {
    malignant: `Above the operating point (${percent(line)}): ${malignant}.`,
    benign: `Below the operating point (${percent(line)}): ${malignant}.`,
    uncertain: "Not sure. The probabilities are too even to decide by: show this to a specialist.",
    "not dermatoscopic": "This does not look like a dermatoscopic image. The probabilities below mean nothing for it.",
  };
  return element("p", { className: `says-it ${kind(item)}` }, texts[result.decision] ?? result.decision);
}

function malignantScale(result, model) {
  const line = model.thresholds.malignant ?? 0.5;
  return element("div", {},
    element("h3", {}, `Malignant: ${percent(result.malignant_probability)}`),
    element("div", { className: "scale", role: "img",
      ariaLabel: `${percent(result.malignant_probability)}, operating point at ${percent(line)}` },
      element("span", { className: "fill", share: result.malignant_probability }),
      element("span", { className: "tick", share: line })),
    element("p", { className: "quiet" },
      `The line is the operating point, ${percent(line)}. Uncertainty ${result.uncertainty.toFixed(2)} of 1.`));
}

function predictionSet(result, model) {
  if (!result.prediction_set?.length) return "";
  const names = result.prediction_set.map((dx) => model.class_names[model.classes.indexOf(dx)]);
  const share = model.conformal.coverage ? ` In ${percent(model.conformal.coverage)} of images like those that the model was tested on, the truth is among such.` : "";
  return element("div", {}, element("h3", {}, "Cannot be ruled out"),
    element("p", {}, names.join(", ")), element("p", { className: "quiet" }, share.trim()));
}

function neighbours(result) {
  if (!result.neighbours?.length) return "";
  return element("div", {}, element("h3", {}, "Nearest confirmed cases of the reference folder"),
    element("ul", { className: "neighbours" }, ...result.neighbours.map((near) =>
      element("li", {}, element("img", { src: near.picture ?? near.url, alt: `${near.name}, ${near.image}`, loading: "lazy" }),
        near.name, element("br"), element("span", { className: "quiet" }, `similarity ${near.similarity.toFixed(2)}`)))));
}

function picture(item, model, settings, changed) {
  const canvas = element("canvas", { role: "img", ariaLabel: `${item.file.name}, with what speaks for the diagnosis` });
  const redraw = () => {
    drawPicture(canvas, item.bitmap, model, PICTURE_PX);
    if (item.result.activation_maps && settings.opacity > 0) {
      drawMap(canvas, item.result.activation_maps, settings.dx ?? item.result.dx, settings.opacity);
    }
  };
  redraw();
  const box = element("div", { className: "picture" }, canvas);
  if (!item.result.activation_maps) return box;
  const value = element("output", {}, `${Math.round(100 * settings.opacity)} %`);
  const slider = element("input", { type: "range", min: 0, max: 100, value: 100 * settings.opacity, id: "opacity",
    oninput: (event) => {
      settings.opacity = event.target.value / 100;
      value.textContent = `${event.target.value} %`;
      redraw();
    } });
  const select = element("select", { onchange: (event) => { settings.dx = event.target.value || null; changed(); redraw(); } },
    element("option", { value: "" }, "the answer"),
    ...model.classes.map((dx, index) => element("option", { value: dx, selected: dx === settings.dx }, model.class_names[index])));
  box.append(element("div", { className: "controls" },
    element("label", {}, "Where it looked", slider, value),
    element("label", {}, "What speaks for", select),
    element("div", {}, element("div", { className: "legend", ariaHidden: "true" }),
      element("div", { className: "ends" }, element("span", {}, "nothing"), element("span", {}, "most")))));
  return box;
}

// Everything about one image; `settings` holds opacity and diagnosis of the map, and is changed by its controls.
export function detail(item, model, settings, changed = () => {}) {
  const head = element("header", {}, element("h2", { id: "detail-title" }, item.file.name));
  if (!item.result && !item.error) return [head, element("p", { className: "quiet" }, "Waiting …")];
  head.append(element("span", { className: `badge ${kind(item)}` }, inWords(item)));
  if (item.error) return [head, element("p", { className: "says-it error" }, item.error.reason)];
  const result = item.result;
  return [head, element("div", { className: "columns" }, picture(item, model, settings, changed),
    element("div", {}, sentence(item, model), probabilities(result, model), malignantScale(result, model),
      predictionSet(result, model), neighbours(result)))];
}
