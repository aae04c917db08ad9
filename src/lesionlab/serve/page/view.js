// One answer in, DOM out. Text only ever through textContent: file names may hold markup.

import { element } from "./element.js";
import { patientControls, patientWords } from "./patient.js";
import { drawMap, drawPicture, seen } from "./picture.js";

const PICTURE_PX = 832; // twice the width on the page, for fine screens

export function percent(share) {
  if (share > 0 && share < 0.0005) return "<\u00a00.1\u00a0%";
  if (share < 1 && share >= 0.9995) return ">\u00a099.9\u00a0%";
  return `${(100 * share).toFixed(share > 0.985 || share < 0.0995 ? 1 : 0)}\u00a0%`;
}

export const isUnanswered = (item) => ["failed", "busy"].includes(item.error?.code);
export const kind = (item) => (item.error ? "error" : item.result.decision.replaceAll(" ", "-"));
export function inWords(item) {
  if (item.error) return isUnanswered(item) ? "no prediction" : "could not be read";
  return item.result.decision;
}

const nameOf = (model, dx) => model.class_names[model.classes.indexOf(dx)];
const listOf = (names) => (names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`);
const badge = (item) => element("span", { className: `badge ${kind(item)}` }, inWords(item));

// The gallery's entry of an image, made once; `update` brings it up to date.
export function entry(item, choose) {
  const thumb = element("canvas", { ariaHidden: "true", width: 128, height: 128 });
  const cell = element("span", { className: "cell" });
  const node = element("li", {}, element("button", { type: "button", onclick: choose }, thumb, cell));
  return { node, thumb, button: node.firstChild, cell };
}

export function updateEntry(item) {
  const says = item.error?.reason ?? (item.result ? inShort(item.result) : item.begun ? "under way …" : "waiting …");
  const name = element("span", { className: "name", title: item.file.name }, item.file.name);
  item.entry.cell.replaceChildren(name, item.error || item.result ? badge(item) : "", element("span", { className: "says" }, says));
}

function inShort(result) {
  if (result.decision === "not dermatoscopic") return "rejected";
  const likeliest = `${result.name} ${percent(result.probabilities[result.dx])}`;
  return `${likeliest}, malignant\u00a0${percent(result.malignant_probability)}`;
}

// What the model is, by its own account.
export function aboutModel(model) {
  return [
    element("summary", {}, `About the model: ${model.name}, lesionlab ${model.version}`),
    element("p", {}, `Trained on ${model.training_data}. Licence: ${model.licence}.`),
    element("pre", { className: "card", tabIndex: 0 }, model.card || "It comes without a model card."),
  ];
}

function probabilities(result, model) {
  const rows = Object.entries(result.probabilities).sort((a, b) => b[1] - a[1]).map(([dx, share]) =>
    element("tr", {},
      element("th", { scope: "row", className: dx === result.dx ? "top-one" : "" }, nameOf(model, dx)),
      element("td", { className: "track" }, element("span", { share, ariaHidden: "true" })),
      element("td", { className: "n" }, percent(share))));
  return element("table", {}, element("caption", { className: "quiet" }, "Probability of each diagnosis"),
    element("tbody", {}, ...rows));
}

function sentence(item, model) {
  const result = item.result;
  const line = model.thresholds.malignant;
  const names = listOf(model.malignant.map((dx) => nameOf(model, dx)));
  const together = `${names[0].toUpperCase()}${names.slice(1)}: ${percent(result.malignant_probability)} together`;
  const compared = (word) => (line === undefined
    ? `${together}, ${word} one half. This model comes without an operating point.`
    : `${together}, ${word} the model's operating point of ${percent(line)}.`);
  const texts = {
    malignant: compared("at or above"),
    benign: compared("below"),
    uncertain: "Uncertain: the probabilities are too close to each other to decide.",
    "not dermatoscopic": "This does not look like a dermatoscopic image. The probabilities below mean nothing for it.",
  };
  return element("p", { className: `says-it ${kind(item)}` }, texts[result.decision] ?? result.decision);
}

function malignantScale(result, model) {
  const line = model.thresholds.malignant;
  const words = line === undefined
    ? "No operating point is known for this model."
    : `The line is the operating point, ${percent(line)}: from there on the decision is “malignant”.`;
  const label = `${percent(result.malignant_probability)}. ${words}`;
  return element("div", {},
    element("h3", {}, `Malignant: ${percent(result.malignant_probability)}`),
    element("div", { className: "scale", role: "img", ariaLabel: label },
      element("span", { className: "fill", share: result.malignant_probability }),
      line === undefined ? "" : element("span", { className: "tick", share: line })),
    element("p", { className: "quiet" }, words));
}

function doubts(result, model) {
  const [line, far] = [model.thresholds.uncertainty, model.ood?.threshold];
  const lines = [`Uncertainty ${result.uncertainty.toFixed(2)} on a scale from 0 (sure) to 1 (all diagnoses equally likely)${
    line === undefined ? "; this model never decides “uncertain”." : `; above ${line.toFixed(2)} the decision is “uncertain”.`}`];
  if (result.ood_score !== null && result.ood_score !== undefined && far !== undefined) {
    lines.push(`Out-of-distribution score ${result.ood_score.toFixed(1)}; above ${far.toFixed(1)} an image is rejected as not dermatoscopic.`);
  } else lines.push("This model has no out-of-distribution score: it predicts a diagnosis whatever the picture shows.");
  return element("div", {}, element("h3", {}, "How sure it is"), ...lines.map((text) => element("p", { className: "quiet" }, text)));
}

function predictionSet(result, model) {
  if (!result.prediction_set?.length) return "";
  const { coverage, images = [] } = model.conformal;
  const few = coverage ? model.classes.filter((_, at) => images[at] < coverage / (1 - coverage) - 1e-9) : [];
  const beside = result.metadata ? " That was measured on pictures alone, without age, sex and site." : "";
  const promise = coverage
    ? `Such a list holds the true diagnosis for ${percent(coverage)} of images like those that the model was calibrated on. For other images nothing is guaranteed${
      few.length ? `, nor for these diagnoses, which too few lesions showed: ${few.map((dx) => nameOf(model, dx)).join(", ")}` : ""}.${beside}`
    : "";
  return element("div", {}, element("h3", {}, "Cannot be ruled out"),
    element("p", {}, result.prediction_set.map((dx) => nameOf(model, dx)).join(", ")),
    element("p", { className: "quiet" }, promise));
}

function neighbours(result) {
  if (!result.neighbours?.length) return "";
  const look = (near) => (near.picture
    ? element("img", { src: near.picture, alt: `${near.name}, ${near.image}` })
    : element("span", { className: "absent" }, "picture not available"));
  return element("div", {}, element("h3", {}, "Nearest confirmed cases of the reference folder"),
    element("ul", { className: "neighbours" }, ...result.neighbours.map((near) =>
      element("li", {}, look(near), near.name, element("br"),
        element("span", { className: "quiet" }, `similarity ${near.similarity.toFixed(2)}`)))));
}

// What the file is, and which part of it counted.
function about(item, model) {
  const bytes = item.file.size;
  const size = bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
  if (!item.size) return element("p", { className: "quiet" }, [item.format, size].filter(Boolean).join(", "));
  const [width, height] = item.size;
  const [, , kept, high] = seen(width, height, model).map(Math.round);
  const part = kept === width && high === height
    ? "The model sees all of it"
    : `The model sees the middle, ${kept}\u00a0×\u00a0${high}, as shown`;
  return element("p", { className: "quiet" },
    `${item.format} of ${width}\u00a0×\u00a0${height} pixels, ${size}. ${part}, at ${model.width}\u00a0×\u00a0${model.height}.`);
}

function controls(item, model, settings, map) {
  const value = element("output", {});
  const show = () => {
    map.style.opacity = settings.opacity;
    value.textContent = `${Math.round(100 * settings.opacity)} %`;
  };
  const draw = () => drawMap(map, item.result.activation_maps, settings.dx ?? item.result.dx);
  show();
  draw();
  const slider = element("input", { type: "range", min: 0, max: 100, value: Math.round(100 * settings.opacity), id: "opacity",
    oninput: (event) => {
      settings.opacity = event.target.value / 100;
      show();
    } });
  const select = element("select", { onchange: (event) => { settings.dx = event.target.value || null; draw(); } },
    element("option", { value: "" }, "the predicted diagnosis"),
    ...model.classes.map((dx, index) => element("option", { value: dx, selected: dx === settings.dx }, model.class_names[index])));
  return element("div", { className: "controls" },
    element("label", {}, "Where it looked", slider, value),
    element("label", {}, "What speaks for", select),
    element("div", {}, element("div", { className: "legend", ariaHidden: "true" }),
      element("div", { className: "ends" }, element("span", {}, "nothing"), element("span", {}, "most"))));
}

// The picture with its map and their controls; a printed one is an image that holds both.
function picture(item, model, settings, still) {
  const box = element("div", { className: "picture" });
  const alt = `${item.file.name}${item.result.activation_maps ? ", with what speaks for the diagnosis" : ""}`;
  if (still) box.append(still.image ? element("img", { src: still.image, alt }) : absent(item), legend(item, model, settings));
  else if (item.bitmap === null) box.append(absent(item));
  else {
    const canvas = element("canvas", { role: "img", ariaLabel: alt });
    drawPicture(canvas, item.bitmap, model, PICTURE_PX); // grey as long as the file is being read
    const frame = element("div", { className: "frame" }, canvas);
    box.append(frame);
    if (item.result.activation_maps) {
      const map = element("canvas", { className: "map", ariaHidden: "true" });
      frame.append(map);
      box.append(controls(item, model, settings, map));
    }
  }
  box.append(about(item, model));
  return box;
}

// On paper: what the colours over the picture mean.
function legend(item, model, settings) {
  if (!item.result.activation_maps || settings.opacity === 0) return "";
  const name = nameOf(model, settings.dx ?? item.result.dx);
  return element("p", { className: "quiet" }, `Coloured is what speaks for ${name}, yellow the most.`);
}

const absent = (item) => element("p", { className: "absent" }, `This browser cannot show ${item.format ?? "this"} images.`);

// Everything about one image. `settings` holds opacity and diagnosis of the map, and is changed by its controls;
// `still`, of a printed sheet, holds the `image`: then there are no controls, no actions and no ids. `knows` is told what is known
// of the patient, by controls that a model has which takes that.
export function detail(item, model, settings, { still = null, actions = [], knows = () => {} } = {}) {
  const head = element("header", {}, element("h2", still ? {} : { id: "detail-title" }, item.file.name));
  if (item.result || item.error) head.append(badge(item));
  if (!still) head.append(element("span", { className: "spring" }), ...actions);
  if (!item.result && !item.error) return [head, element("p", { className: "quiet" }, "Waiting …")];
  if (item.error) return [head, element("p", { className: "says-it error" }, item.error.reason)];
  const result = item.result;
  return [head, sentence(item, model), element("div", { className: "columns" }, picture(item, model, settings, still),
    element("div", {}, still || !model.patient?.years ? "" : patientControls(item, model, knows), probabilities(result, model),
      element("p", { className: "quiet" }, patientWords(result)), malignantScale(result, model),
      predictionSet(result, model), doubts(result, model), neighbours(result)))];
}
