// The table of scores against an original: one column per picture.

import { sentence } from "./frames.js";

export async function fillScores(table, pictures, reference) {
  const columns = [];
  for (const picture of pictures) {
    const form = new FormData();
    form.append("picture", picture, "result");
    form.append("reference", reference, reference.name);
    const response = await fetch("/page/score", { method: "POST", body: form });
    if (!response.ok) throw new Error(await sentence(response));
    columns.push(await response.json());
  }
  table.tBodies[0].replaceChildren(...Object.keys(columns[0]).map((name) => {
    const row = document.createElement("tr");
    row.append(
      Object.assign(document.createElement("th"), { scope: "row", textContent: name }),
      ...columns.map((column) => Object.assign(document.createElement("td"), { textContent: shown(name, column[name]) })),
    );
    return row;
  }));
}

function shown(name, value) {
  return value === null ? "–" : value.toFixed(name.startsWith("ssim") ? 4 : 2);
}
