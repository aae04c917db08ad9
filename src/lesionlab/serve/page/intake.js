// Files out of what was dropped, folders included.

const IMAGE = /\.(jpe?g|jpe|jfif|jif|png|webp|bmp|gif|tiff?|mpo|avif|hei[cf]|hif|dcm|dicom)$/i;

// Of a folder only what its name says is an image; of files, whatever was given: an answer then says what is wrong.
export const ofFolder = (files) => files.filter((file) => IMAGE.test(file.name) && !file.name.startsWith("."));

export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()); // at once: the list is gone after an await
  const plain = [...transfer.files];
  if (!entries.some((entry) => entry?.isDirectory)) return plain;
  const found = [];
  for (const entry of entries) {
    if (entry?.isDirectory) found.push(...ofFolder(await filesIn(entry)));
    else if (entry) found.push(await fileOf(entry));
  }
  return found;
}

// A file that was dropped does not know its folder, its entry does.
const fileOf = (entry) => new Promise((done, fail) =>
  entry.file((file) => done(Object.assign(file, { path: entry.fullPath?.slice(1) })), fail));

async function filesIn(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const entries = await new Promise((done, fail) => reader.readEntries(done, fail)); // some hundred at a time
    if (!entries.length) return found;
    for (const entry of entries) found.push(...(entry.isDirectory ? await filesIn(entry) : [await fileOf(entry)]));
  }
}
