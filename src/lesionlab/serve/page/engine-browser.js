// Runs the model in this browser, in a worker: no image leaves the page.

export const privacy = "They are read in this browser and never leave it.";
export const atOnce = 1;

const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
let number = 0;
let loading = () => {};

worker.onmessage = ({ data }) => {
  if (data.progress !== undefined) return loading(data.progress);
  waiting.get(data.number)?.(data.answer);
  waiting.delete(data.number);
};
worker.onerror = (event) => {
  const reason = event.message || "worker.js, or a file that it needs, could not be loaded";
  for (const done of waiting.values()) done({ error: { code: "failed", reason } });
  waiting.clear();
};

function ask(message) {
  const own = ++number;
  return new Promise((done) => {
    waiting.set(own, done);
    worker.postMessage({ number: own, ...message });
  });
}

// `progress` is told the share of the model that has come.
export async function start(progress) {
  loading = progress;
  const answer = await ask({ start: true });
  if (answer.error) throw new Error(answer.error.reason);
  return answer.model;
}

export const predict = (file, model, signal, patient) => ask({ file, patient });
export const again = () => {};
