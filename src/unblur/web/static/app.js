import { Viewer } from "./viewer.js";
import { zip } from "./zip.js";

const PATIENCE = 20; // how often a picture that was refused for a while is sent again

const $ = (id) => document.getElementById(id);
const main = $("main");
const viewer = new Viewer($("stage"), $("cut"), $("scale"));

const items = [];
let current = null;
let running = 0;
let about = { max_bytes: Infinity, workers: 1, methods: [] };

// Small things

function element(tag, text = "", kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function blobOf(base64, type) {
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type });
}

const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
const megabytes = (bytes) => `${+(bytes / 1e6).toPrecision(3)} MB`;

function save(blob, name) {
  const link = element("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Talking to the server

class Refused extends Error {}

async function post(path, fields, stale = () => false) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  for (let tries = 1; ; tries++) {
    let answer;
    try {
      answer = await fetch(path, { method: "POST", body: form });
    } catch {
      throw new Refused("The server cannot be reached.");
    }
    if (answer.ok) return answer;
    const later = Number(answer.headers.get("Retry-After"));
    if (later && tries < PATIENCE && !stale()) {
      await wait(later);
      continue;
    }
    const problem = await answer.json().catch(() => ({}));
    throw new Refused(problem.message ?? `The server answered with ${answer.status}.`);
  }
}

function options() {
  const sigma = $("sigma");
  return { method: $("method").value, ...(sigma.value && sigma.checkValidity() ? { sigma: sigma.value } : {}) };
}

const strength = () => $("strength").valueAsNumber / 100;

// The pictures and their turn

function add(files) {
  const first = items.length;
  for (const file of files) {
    const item = { file, turn: 0, state: "waiting", urls: [], before: URL.createObjectURL(file) };
    items.push(item);
    row(item);
    if (file.size > about.max_bytes) {
      fail(item, `The file has ${megabytes(file.size)}; the limit is ${megabytes(about.max_bytes)}.`);
    }
  }
  if (items.length === first) return;
  main.dataset.state = "work";
  $("viewer").hidden = $("found").hidden = false;
  select(current && first ? current : items[first]);
  pump();
}

function pump() {
  const most = Math.min(about.workers, 4);
  for (const item of items) {
    if (running >= most) break;
    if (item.state === "waiting") restore(item);
  }
  summary();
}

async function restore(item) {
  const turn = ++item.turn;
  const stale = () => item.turn !== turn;
  item.state = "working";
  item.since = Date.now();
  running++;
  show(item);
  try {
    const answer = await post("api/restore", { file: item.file, ...options(), answer: "json" }, stale);
    const facts = await answer.json();
    if (!stale()) finish(item, facts);
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error);
    if (!stale()) fail(item, error instanceof Refused ? error.message : "The answer cannot be read.");
  } finally {
    running--;
    pump();
  }
}

function finish(item, facts) {
  release(item);
  const url = (base64, type) => {
    if (!base64) return null;
    const made = URL.createObjectURL(blobOf(base64, type));
    item.urls.push(made);
    return made;
  };
  item.picture = blobOf(facts.picture, facts.type);
  if (facts.before) {
    URL.revokeObjectURL(item.before);
    item.before = item.thumb.src = url(facts.before, "image/jpeg");
  }
  item.after = facts.unchanged ? null : (url(facts.after, "image/jpeg") ?? URL.createObjectURL(item.picture));
  if (item.after) item.urls.push(item.after);
  item.kernel = url(facts.kernel, "image/png");
  item.map = url(facts.map, "image/png");
  for (const large of ["picture", "before", "after", "kernel", "map"]) delete facts[large];
  Object.assign(item, { facts, state: "done", message: "" });
  show(item);
}

function fail(item, message) {
  release(item);
  Object.assign(item, { state: "failed", message, facts: null, after: null });
  show(item);
}

function release(item) {
  for (const url of item.urls) URL.revokeObjectURL(url);
  if (item.urls.includes(item.before)) item.before = URL.createObjectURL(item.file);
  item.urls = [];
}

function again() {
  for (const item of items) {
    if (item.file.size > about.max_bytes) continue;
    item.turn++; // an answer that is still under way is for other options
    item.state = "waiting";
    show(item);
  }
  pump();
}

function clear() {
  for (const item of items) {
    item.turn++;
    release(item);
    URL.revokeObjectURL(item.before);
  }
  items.length = 0;
  current = null;
  $("strip").replaceChildren();
  $("verdict").replaceChildren();
  for (const id of ["viewer", "found", "several", "blur"]) $(id).hidden = true;
  main.dataset.state = "empty";
  $("files").focus();
}

// What is shown

const STATES = { waiting: "waiting", working: "at work", done: "restored", failed: "failed" };

function row(item) {
  const button = element("button");
  const thumb = element("span", "", "thumb");
  const image = element("img");
  image.alt = "";
  image.src = item.before;
  item.thumb = image;
  thumb.append(image);
  item.shown = element("span", "", "state");
  button.append(thumb, element("span", item.file.name, "label"), item.shown);
  button.type = "button";
  button.addEventListener("click", () => select(item));
  item.button = button;
  const entry = element("li");
  entry.append(button);
  $("strip").append(entry);
}

function select(item) {
  current = item;
  for (const one of items) one.button.setAttribute("aria-current", one === item);
  show(item);
}

async function show(item) {
  item.shown.textContent = item.facts?.unchanged && item.state === "done" ? "left alone" : STATES[item.state];
  item.shown.className = `state ${item.state}`;
  summary();
  if (item !== current) return;
  const { facts, state } = item;
  $("title").textContent = item.file.name;
  $("stage").classList.toggle("working", state === "waiting" || state === "working");
  $("download").disabled = state !== "done";
  $("verdict").replaceChildren(...verdict(item));
  $("facts").replaceChildren(...(state === "done" ? details(facts) : []));
  $("blur").hidden = state !== "done";
  if (state === "done") {
    picture("kernel", item.kernel, facts.blur.kernel_size ? `Kernel, ${facts.blur.kernel_size} by ${facts.blur.kernel_size} pixels` : "");
    picture("map", item.map, "Map of the blur: black is sharp, white is blurred");
  }
  $("stage").querySelector(".tag.right").textContent = item.after ? "After" : state === "done" ? "Left alone" : "Before";
  const [width, height] = facts && state === "done" ? [facts.width, facts.height] : await sizeOf(item);
  if (item === current && item.state === state) viewer.show(item.before, state === "done" ? item.after : null, width, height);
}

setInterval(() => {
  if (current?.state === "working") $("busy").textContent = `At work for ${Math.round((Date.now() - current.since) / 1000)} s`;
  else $("busy").textContent = "Waiting for its turn";
}, 500);

function picture(id, url, words) {
  const figure = $(id);
  figure.hidden = !url;
  if (!url) return;
  const image = figure.querySelector("img");
  [image.src, image.alt] = [url, words];
}

/** Of a picture that is not restored yet; what the browser cannot show has none. */
async function sizeOf(item) {
  const image = new Image();
  image.src = item.before;
  try {
    await image.decode();
  } catch {
    return [1, 1];
  }
  return [image.naturalWidth, image.naturalHeight];
}

function summary() {
  const done = items.filter((item) => item.state === "done" || item.state === "failed").length;
  const failed = items.filter((item) => item.state === "failed").length;
  $("several").hidden = $("zip").hidden = items.length < 2;
  $("zip").disabled = done < items.length || failed === items.length;
  [$("progress").max, $("progress").value] = [Math.max(items.length, 1), done];
  $("count").textContent = `${done} of ${items.length} done${failed ? `, ${failed} failed` : ""}`;
}

const number = (value, digits = 1) => value.toFixed(digits);

function inWords(blur) {
  const size = {
    gaussian: () => `soft, Gaussian of sigma ${number(blur.sigma)} px`,
    disk: () => `out of focus, radius ${number(blur.radius)} px`,
    motion: () => `motion, ${number(blur.length)} px long`,
    shake: () => "shake",
    kernel: () => "of a kernel",
    varying: () => "different from place to place",
    none: () => "none found",
  };
  return size[blur.kind]();
}

function verdict({ state, facts, message }) {
  if (state === "waiting") return [element("strong", "Waiting for its turn")];
  if (state === "working") return [element("strong", "Looking at the picture…")];
  if (state === "failed") return [element("strong", "This picture was not restored", "bad"), element("p", message)];
  const notes = [...facts.left_alone.filter(() => facts.method !== "none").map((line) => `Left alone: ${line}.`), ...facts.warnings.map((line) => `Note: ${line}.`)];
  const more = notes.map((line) => element("p", line));
  if (facts.method === "none" && facts.blur.kind === "none") {
    const [why, what] = facts.sharp
      ? ["Left alone because it is sharp", "There is no blur to take out. You get the file as it was."]
      : facts.enlarged
        ? ["Left alone: it was enlarged", "It lacks detail because it was made larger, not because it is blurred. Try it at its own, smaller size; or, if you know a blur, say so below."]
        : ["Left alone: its blur cannot be told", "The picture is too small, too flat or too regular to tell. If you know its blur, say so below."];
    return [element("strong", why, "good"), element("p", what), ...more];
  }
  if (facts.method === "none") return [element("strong", "Left alone", "good"), ...more];
  const words = facts.blur.kind === "none" ? `Restored by ${facts.method}` : `Blur found: ${inWords(facts.blur)}`;
  return [element("strong", words), element("p", "It was taken out; metadata, colours and size are as before."), ...more];
}

function details(facts) {
  const { blur } = facts;
  const rows = [];
  const kinds = { gaussian: "Gaussian", disk: "defocus (disk)", motion: "straight motion", none: "none" };
  rows.push(["Kind", kinds[blur.kind] ?? blur.kind]);
  if (blur.sigma !== undefined) rows.push(["Sigma", `${number(blur.sigma, 2)} px`]);
  if (blur.radius !== undefined) rows.push(["Radius", `${number(blur.radius, 2)} px`]);
  if (blur.length !== undefined) rows.push(["Length", `${number(blur.length, 2)} px`]);
  if (blur.angle !== undefined) rows.push(["Direction", `${number(blur.angle, 0)}°`]);
  if (blur.kernel_size) rows.push(["Kernel", `${blur.kernel_size} × ${blur.kernel_size} px`]);
  rows.push(["Certainty", `${Math.round(100 * blur.confidence)} %`]);
  if (blur.noise !== null) rows.push(["Noise", `${number(255 * blur.noise)} of 255`]);
  rows.push(["Picture", `${facts.width} × ${facts.height}`], ["Method", facts.method], ["Time", `${number(facts.seconds)} s`]);
  return rows.flatMap((pair) => [element("dt", pair[0]), element("dd", pair[1])]);
}

// Downloads

/** The file of an item at the strength that is chosen; the whole change is here already. */
async function fileOf(item) {
  if (strength() === 1 || item.facts.unchanged) return item.picture;
  const fields = { file: item.file, ...options(), strength: strength() };
  return (await post("api/restore", fields)).blob();
}

async function download(button, make) {
  const words = button.textContent;
  button.disabled = true;
  button.textContent = "Preparing…";
  try {
    const { blob, name } = await make();
    save(blob, name);
  } catch (error) {
    $("verdict").replaceChildren(element("strong", "Not downloaded", "bad"), element("p", error.message));
  } finally {
    button.textContent = words;
    button.disabled = false;
  }
}

$("download").addEventListener("click", (event) => {
  const item = current;
  download(event.currentTarget, async () => ({ blob: await fileOf(item), name: item.facts.name }));
});

$("zip").addEventListener("click", (event) => {
  const ready = items.filter((item) => item.state === "done");
  download(event.currentTarget, async () => {
    const files = [];
    for (const item of ready) files.push({ name: item.facts.name, blob: await fileOf(item) });
    return { blob: await zip(files), name: "unblur.zip" };
  });
});

// Pictures come in

for (const input of ["files", "camera", "more"].map($)) {
  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });
}

for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", async () => {
    const name = button.dataset.example;
    const answer = await fetch(`static/examples/${name}`);
    add([new File([await answer.blob()], name, { type: "image/jpeg" })]);
  });
}

let inside = 0;
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
function dragging(change) {
  inside = change ? Math.max(0, inside + change) : 0;
  document.body.classList.toggle("dragging", inside > 0);
}
addEventListener("dragenter", (event) => carriesFiles(event) && dragging(1));
addEventListener("dragleave", (event) => carriesFiles(event) && dragging(-1));
addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  dragging(0);
  add(event.dataTransfer.files);
});
addEventListener("paste", (event) => {
  if (event.clipboardData?.files.length) add(event.clipboardData.files);
});

// Options

$("strength").addEventListener("input", () => {
  $("strength-shown").value = `${$("strength").value} %`;
  viewer.setStrength(strength());
});
$("sigma").addEventListener("change", again);
$("method").addEventListener("change", () => {
  describe();
  again();
});
$("options").addEventListener("submit", (event) => event.preventDefault());
$("clear").addEventListener("click", clear);
$("in").addEventListener("click", () => viewer.zoomTo(viewer.zoom * 1.5));
$("out").addEventListener("click", () => viewer.zoomTo(viewer.zoom / 1.5));
$("fit").addEventListener("click", () => viewer.fit());
$("full").addEventListener("click", () => viewer.zoomTo(1));

function describe() {
  const chosen = about.methods.find(({ name }) => name === $("method").value);
  $("method-about").textContent = chosen ? chosen.summary : "";
}

// Light and dark

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");
function theme(chosen) {
  if (chosen) root.dataset.theme = chosen;
  $("theme").setAttribute("aria-pressed", chosen ? chosen === "dark" : system.matches);
}
$("theme").addEventListener("click", () => {
  const chosen = $("theme").getAttribute("aria-pressed") === "true" ? "light" : "dark";
  localStorage.setItem("theme", chosen);
  theme(chosen);
});
system.addEventListener("change", () => theme(localStorage.getItem("theme")));
theme(localStorage.getItem("theme"));

// What the server offers

async function begin() {
  about = await (await fetch("api/about")).json();
  for (const input of [$("files"), $("more")]) input.accept = ["image/*", ...about.formats].join(",");
  $("limits").textContent += `, up to ${megabytes(about.max_bytes)} and ${+(about.max_pixels / 1e6).toPrecision(3)} megapixels`;
  $("sigma").max = about.max_sigma;
  const groups = ["method", "model"].map((kind) => {
    const group = element("optgroup");
    group.label = kind === "method" ? "Methods" : "Models";
    for (const { name } of about.methods.filter((one) => one.kind === kind)) group.append(new Option(name, name));
    return group;
  });
  $("method").replaceChildren(...groups.filter((group) => group.children.length));
  describe();
  main.dataset.ready = "true";
}
begin();
