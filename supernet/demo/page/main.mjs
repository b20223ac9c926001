// The page: what is recorded, what each size recognizes, and what a cascade would do.

import { changesOf } from "./changes.mjs";
import { goesOn } from "./confidence.mjs";
import { SAMPLE_RATE } from "./log_mel.mjs";
import { BrowserRecognizer } from "./recognizer.mjs";
import { Microphone, samplesOf, secondsOf } from "./recordings.mjs";

const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]/gu;

const $ = (id) => document.getElementById(id);

/** The state of the page, which tests read. */
export const page = { recognizer: null, samples: null, results: new Map(), microphone: null };

function say(text, state) {
  $("status").textContent = text;
  if (state !== undefined) document.documentElement.dataset.state = state;
}

/** Text with control characters as visible escapes: a network's tokens may contain any. */
function plain(text) {
  return text.replace(CONTROLS, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function element(tag, content = "", properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...[content].flat());
  return made;
}

async function start() {
  const facts = await (await fetch("demo.json")).json();
  page.recognizer = new BrowserRecognizer(facts);
  document.title = `${facts.name}: speech recognition in this browser`;
  $("name").textContent = facts.name;
  if (facts.measure !== null) $("rate").textContent = facts.measure.toUpperCase();
  $("size").max = facts.sizes.length - 1;
  $("size").value = facts.sizes.length - 1;
  addCascades(facts);
  for (const size of facts.sizes) await page.recognizer.session(size);
  for (const id of ["record", "file", "size"]) $(id).disabled = false;
  show();
  say("Ready. Record a sentence, or choose a file.", "ready");
}

// Recording

$("record").addEventListener("click", () => attempt(page.microphone === null ? beginRecording : endRecording));
$("file").addEventListener("change", () => attempt(() => recognizeFile($("file").files[0])));
$("drop").addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
$("drop").addEventListener("dragleave", () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  attempt(() => recognizeFile(event.dataTransfer.files[0]));
});

/** Run an action of the user and report an error of the browser. */
async function attempt(action) {
  try {
    await action();
  } catch (error) {
    say(`That failed: ${plain(error.message)}`, "failed");
  }
}

async function beginRecording() {
  if (document.documentElement.dataset.state === "opening") return;
  say("The microphone is opened.", "opening");
  page.microphone = await Microphone.open();
  pressed(true);
  say("Recording. Press Stop at the end.", "recording");
}

async function endRecording() {
  const microphone = page.microphone;
  page.microphone = null;
  pressed(false);
  await recognizeFile(await microphone.close());
}

function pressed(isRecording) {
  $("record").textContent = isRecording ? "Stop" : "Record";
  $("record").classList.toggle("recording", isRecording);
}

async function recognizeFile(file) {
  if (file === undefined || document.documentElement.dataset.state === "recognizing") return;
  say("The recording is read.", "recognizing");
  $("text").ariaBusy = "true"; // so that only the final text is spoken
  try {
    say(await recognizeSamples(await samplesOf(file)), "done");
  } finally {
    $("text").ariaBusy = "false";
  }
}

/** Recognize at every size; returns a sentence about the recording. */
async function recognizeSamples(samples) {
  const longest = page.recognizer.facts.longestSeconds;
  page.samples = samples.slice(0, Math.floor(longest * SAMPLE_RATE));
  page.results = new Map();
  const length = `${secondsOf(page.samples).toFixed(1)} s`;
  for (const size of page.recognizer.sizes) {
    say(`Size ${size.budget} recognizes ${length} of audio.`);
    await new Promise((done) => setTimeout(done)); // so that the page shows it
    page.results.set(size.budget, await page.recognizer.recognize(page.samples, size));
    show();
  }
  if (page.results.values().next().value.confidence === null) return "The recording is silent.";
  const isCut = page.samples.length < samples.length;
  return `Recognized ${length}.` + (isCut ? ` Only the first ${longest.toFixed(1)} s were used.` : "");
}

// Sizes

$("size").addEventListener("input", show);

function show() {
  const size = page.recognizer.sizes[$("size").value];
  const rate = size.rate === null ? "" : `, error rate ${percent(size.rate)}`;
  const words = `Size ${size.budget}${rate}`;
  $("size").setAttribute("aria-valuetext", words);
  $("chosen").textContent = `${words}, units kept: ${size.units}`;
  $("sizes").replaceChildren(...page.recognizer.sizes.map((other) => row(other, other === size)));
  const others = page.recognizer.sizes.map(({ budget }) => page.results.get(budget)).filter(Boolean);
  const result = page.results.get(size.budget);
  const changes = result && changesOf(result.words, others.map((other) => other.words));
  $("text").replaceChildren(...(result === undefined ? ["…"] : marked(result.words, changes)));
  $("legend").hidden = result === undefined || changes.words.size + changes.gaps.size === 0;
  showCascade();
}

const percent = (share) => `${(100 * share).toFixed(2)} %`;

function row(size, isChosen) {
  const result = page.results.get(size.budget);
  const cells = [
    size.rate === null ? "–" : percent(size.rate),
    (size.macs / 1e9).toFixed(3),
    result ? result.milliseconds.toFixed(1) : "–",
    result ? confidenceText(result) : "–",
  ];
  const made = element("tr", [
    element("th", size.budget, { scope: "row", className: "text" }),
    ...cells.map((cell) => element("td", cell)),
    element("td", result ? plain(result.words.join(" ")) : "", { className: "text" }),
  ]);
  if (isChosen) made.setAttribute("aria-current", "true");
  return made;
}

function confidenceText({ confidence, probability }) {
  if (confidence === null) return "–";
  const share = probability === null ? "" : ` (${(100 * probability).toFixed(0)} %)`;
  return confidence.toFixed(3) + share;
}

function marked(words, { words: changed, gaps }) {
  const gap = (i) => (gaps.has(i) ? [element("mark", "‸", { className: "gap" }), " "] : []);
  const parts = words.flatMap((word, i) => [...gap(i), changed.has(i) ? element("mark", plain(word)) : plain(word), " "]);
  return [...parts, ...gap(words.length)];
}

// Cascade

$("cascade").addEventListener("change", () => {
  $("threshold").value = thresholdOf($("cascade").value);
  showCascade();
});
$("threshold").addEventListener("input", showCascade);

const DEFAULT_THRESHOLD = 0.9;

/** The cascades whose thresholds were fitted, and the one from the smallest to the largest size. */
function addCascades({ sizes, confidence }) {
  const order = sizes.map((size) => size.budget);
  const places = (name) => name.split(",").map((budget) => order.indexOf(budget));
  const isUsable = (name) => places(name).every((place, i, all) => place > (i ? all[i - 1] : -1));
  const ends = `${order[0]},${order.at(-1)}`;
  const names = new Set([...Object.keys(confidence.thresholds).filter(isUsable), ends]);
  $("cascade").append(...[...names].map((name) => element("option", name, { value: name })));
  $("threshold").value = thresholdOf($("cascade").value);
  $("cascade-section").hidden = order.length < 2;
}

function thresholdOf(name) {
  return page.recognizer.facts.confidence.thresholds[name] ?? DEFAULT_THRESHOLD;
}

/** The sizes of a cascade that run, and whether each goes on; only those that are recognized already. */
export function stagesOf(budgets, threshold) {
  const stages = [];
  for (const [i, budget] of budgets.entries()) {
    const result = page.results.get(budget);
    if (result === undefined || result.confidence === null) break;
    const isLast = i === budgets.length - 1;
    stages.push({ budget, result, answers: isLast || !goesOn(result.confidence, threshold) });
    if (stages.at(-1).answers) break;
  }
  return stages;
}

function showCascade() {
  const threshold = $("threshold").valueAsNumber;
  const stages = Number.isNaN(threshold) ? [] : stagesOf($("cascade").value.split(","), threshold);
  const total = stages.reduce((sum, { result }) => sum + result.milliseconds, 0);
  $("stages").replaceChildren(...stages.map((stage) => stageItem(stage, threshold)));
  const last = stages.at(-1);
  const text = last?.answers ? `Size ${last.budget} answers after ${total.toFixed(1)} ms: ${last.result.words.join(" ")}` : "";
  $("answer").textContent = plain(text);
}

function stageItem({ budget, result, answers }, threshold) {
  const isSure = !goesOn(result.confidence, threshold);
  const reason = isSure ? `is at least ${threshold.toFixed(4)}` : `is below ${threshold.toFixed(4)}`;
  const then = answers ? (isSure ? "it answers." : "it answers, as it is the last one.") : "the next size goes on.";
  const made = element("li", `Size ${budget}: confidence ${result.confidence.toFixed(4)} ${reason}; ${then}`);
  if (answers) made.setAttribute("aria-current", "true");
  return made;
}

start().catch((error) => say(`The page cannot be used: ${plain(error.message)}`, "failed"));
