// Runs the model in this browser, in a worker: no image leaves the page.

export const privacy = "They are read in this browser and never leave it.";
export const atOnce = 1;

const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
let number = 0;

worker.onmessage = ({ data }) => {
  waiting.get(data.number)?.(data.answer);
  waiting.delete(data.number);
};
worker.onerror = (event) => {
  for (const done of waiting.values()) done({ error: { code: "failed", reason: event.message || "The model could not be loaded." } });
  waiting.clear();
};

function ask(message) {
  const own = ++number;
  return new Promise((done) => {
    waiting.set(own, done);
    worker.postMessage({ number: own, ...message });
  });
}

export async function start() {
  const answer = await ask({ start: true });
  if (answer.error) throw new Error(answer.error.reason);
  return answer.model;
}

export const predict = (file) => ask({ file });
