// The generated lesions of `lesionlab demo`: a strip of pictures under the drop zone; a click adds one as if it had been dropped.

import { element } from "./element.js";

export async function showExamples(examples, read, add) {
  const section = document.getElementById("examples");
  if (!examples?.length) return;
  section.hidden = false;
  const list = document.getElementById("examples-list");
  for (const { name, drawn_as, url } of examples) {
    const file = new File([await read(url)], name, { type: "image/jpeg" });
    const picture = element("img", { src: URL.createObjectURL(file), alt: "", width: 96, height: 72 });
    const button = element("button", { type: "button", onclick: () => add([file]) }, picture, `drawn as ${drawn_as}`);
    list.append(element("li", {}, button));
  }
}
