// What is known of the patient, beside the image: controls for it, and its words.

import { element } from "./element.js";

const OLDEST = 120; // years
const NOTHING = { age: null, sex: null, site: null };

const isZero = (age) => age.value !== "" && Number(age.value) === 0;
const isUsable = (age) => !age.validity.badInput && !age.validity.rangeOverflow && !age.validity.rangeUnderflow && !isZero(age);

// A fieldset for age, sex and site; `changed` is told what is known whenever that changes.
export function patientControls(item, model, changed) {
  const known = { ...NOTHING, ...item.patient };
  const set = (values) => changed({ ...NOTHING, ...item.patient, ...values }); // as it is then: an answer may be under way
  const typed = () => (isUsable(age) ? { age: age.value === "" ? null : Number(age.value) } : {}); // though it was not left yet
  const select = (name, title, words) => element("label", {}, title, element("select", {
    id: `patient-${name}`, onchange: (event) => set({ ...typed(), [name]: event.target.value || null }),
  }, element("option", { value: "" }, "not known"),
  ...words.map((word) => element("option", { value: word, selected: word === known[name] }, word))));
  const age = element("input", {
    id: "patient-age", type: "number", min: 0, max: OLDEST, step: "any", placeholder: "not known", value: known.age ?? "",
    onchange: ({ target }) => {
      target.setCustomValidity(isZero(target) ? "0 stands for an unknown age: leave it empty" : "");
      if (target.reportValidity()) set(typed());
    },
  });
  return element("fieldset", { className: "patient" }, element("legend", {}, "What is known of the patient"),
    element("label", {}, "Age, years", age), select("sex", "Sex", Object.keys(model.patient.sex)),
    select("site", "Site", Object.keys(model.patient.site)));
}

// Whether a control is an age that is being typed: of it nothing is known yet, and taken out of the page it would count as it is.
export function isHalfTyped(control, item) {
  return control?.id === "patient-age" && (control.validity.badInput || control.value !== String(item.patient?.age ?? ""));
}

// What counted for an answer, as a line of text; "" where it is the image alone.
export function patientWords(result) {
  const { age, sex, site } = result.metadata ?? NOTHING;
  const words = [age === null ? null : `age ${age}`, sex, site].filter(Boolean);
  return words.length ? `The probabilities take into account: ${words.join(", ")}.` : "";
}
