// What the network gives for one image, worded: lesionlab.inference.predictions, in JavaScript, with the keys of `predict --json`.

// `found` holds Float32Arrays: probabilities (k), and where the model has them activation_maps (h * w * k) and ood_score (1).
// `patient` is what is known of the patient: {age, sex, site}, each null where it is not.
export function answer(image, found, facts, patient) {
  const isKnown = Boolean(facts.patient?.years && patient && Object.values(patient).some((value) => value !== null));
  const alone = normalised(found.probabilities);
  const row = isKnown ? withPatient(alone, patient, facts.patient) : alone;
  const best = row.indexOf(Math.max(...row));
  const malignant = row.reduce((sum, share, at) => sum + (facts.malignant.includes(facts.classes[at]) ? share : 0), 0);
  const doubt = uncertainty(row);
  const score = found.ood_score ? found.ood_score[0] : null;
  const isDermatoscopic = score === null ? null : score <= facts.ood.threshold;
  return {
    image,
    dx: facts.classes[best],
    name: facts.class_names[best],
    probabilities: Object.fromEntries(facts.classes.map((dx, at) => [dx, short(row[at])])),
    malignant_probability: short(malignant),
    uncertainty: short(doubt),
    decision: isDermatoscopic === false ? "not dermatoscopic" : decide(malignant, doubt, facts.thresholds),
    prediction_set: predictionSet(row, facts),
    ood_score: score === null ? null : short(score),
    is_dermatoscopic: isDermatoscopic,
    ...(isKnown ? { metadata: patient } : {}),
    ...(found.activation_maps ? { activation_maps: maps(found.activation_maps, found.grid, facts.classes) } : {}),
  };
}

// As lesionlab.evaluation.patient_terms: log odds of age (between years interpolated), sex and site are added to the image's.
function withPatient(row, { age, sex, site }, terms) {
  const odds = row.map((share, at) =>
    Math.log(Math.max(share, 1e-9)) + (age === null ? 0 : between(age, terms.years, terms.age.map((one) => one[at])))
    + (terms.sex[sex]?.[at] ?? 0) + (terms.site[site]?.[at] ?? 0));
  const top = Math.max(...odds);
  const shares = odds.map((value) => Math.exp(value - top));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.map((share) => share / sum);
}

function between(value, places, values) {
  const after = places.findIndex((place) => value < place);
  if (after < 0) return values.at(-1) ?? 0;
  if (after === 0) return values[0];
  const share = (value - places[after - 1]) / (places[after] - places[after - 1]);
  return values[after - 1] + share * (values[after] - values[after - 1]);
}

function normalised(probabilities) {
  const row = Array.from(probabilities);
  const sum = row.reduce((total, share) => total + share, 0);
  if (!(Math.abs(sum - 1) < 1e-3) || Math.min(...row) < 0) throw new Error("the model is damaged: its outputs are not probabilities");
  return row.map((share) => share / sum);
}

// Entropy over that of even probabilities: 0 (sure) to 1 (knows nothing).
function uncertainty(row) {
  const entropy = row.reduce((sum, share) => sum - (share > 0 ? share * Math.log(share) : 0), 0);
  return Math.max(0, entropy / Math.log(row.length));
}

function decide(malignant, doubt, thresholds) {
  if (doubt > (thresholds.uncertainty ?? 1)) return "uncertain";
  return malignant >= (thresholds.malignant ?? 0.5) ? "malignant" : "benign";
}

// As lesionlab.evaluation.prediction_sets: the likelier diagnoses and half of its own probability, against the diagnosis's threshold.
// A threshold of 1 takes a diagnosis into every set, though sums of floats come out a little above 1.
function predictionSet(row, { classes, conformal }) {
  if (!conformal.thresholds) return [];
  const order = row.map((_, at) => at).sort((a, b) => row[b] - row[a] || a - b);
  let sum = 0;
  return order.filter((at, rank) => {
    sum += row[at];
    const threshold = conformal.thresholds[at];
    return rank === 0 || threshold >= 1 || sum - row[at] / 2 <= threshold;
  }).map((at) => classes[at]);
}

// (height, width, class) as the network gives them, to a row of places for each class.
function maps(values, [height, width], classes) {
  const rows = classes.map((_, at) =>
    Array.from({ length: height * width }, (_, place) => Number(values[place * classes.length + at].toFixed(5))));
  return { height, width, classes, values: rows };
}

const short = (value) => Number(value.toPrecision(9));
