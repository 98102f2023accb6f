// The page: controls, progress, errors and the answer.

import { decode } from "./files.js";
import { loadRecorder, record } from "./microphone.js";
import { loadModel } from "./model.js";

const MAX_DURATION_S = 300;
const MAX_BYTES = 100e6;

const element = (id) => document.getElementById(id);
const file = element("file");
const recordButton = element("record");
const input = element("input");

let model;
let recorder;
let stopRecording = null;
let timer;
let isBusy = false; // controls are not disabled then, since they would lose the focus of the keyboard

async function start() {
  try {
    [model, recorder] = await Promise.all([loadModel(element("runtime"), showProgress), loadRecorder().catch(() => null)]);
  } catch (error) {
    showStatus("");
    showError(`The model could not be loaded: ${error.message}`);
    return;
  }
  showStatus("The model is loaded.");
  element("about").textContent = `Model: ${model.description.name}, trained on ${model.description.data}.`;
  file.disabled = false;
  recordButton.disabled = !recorder;
  if (!recorder) recordButton.title = "This browser cannot record here; a page needs https or localhost for it.";
}

function showProgress(loaded, total) {
  element("progress").value = loaded / total;
  element("status-text").textContent = `Loading the model: ${(loaded / 1e6).toFixed(0)} of ${(total / 1e6).toFixed(0)} MB`;
}

function showStatus(text) {
  element("status").setAttribute("aria-busy", "false"); // while the model was loaded, screen readers kept quiet
  element("status").replaceChildren(text);
}

function showError(text) {
  element("error").textContent = text;
  element("error").hidden = !text;
}

function setBusy(value) {
  isBusy = value;
  input.setAttribute("aria-busy", isBusy);
}

/** Predict the audio that a function returns, and show the answer or the error. */
async function predict(name, read) {
  setBusy(true);
  showError("");
  clearAnswer();
  showStatus(`Predicting ${name} …`);
  await new Promise((resolve) => setTimeout(resolve, 50)); // lets the browser show the line above
  const before = performance.now();
  try {
    const audio = await read();
    const seconds = audio.channels[0].length / audio.rate;
    if (seconds > MAX_DURATION_S) {
      throw new Error(`it is ${(seconds / 60).toFixed(1)} minutes long; at most ${MAX_DURATION_S / 60} are allowed here`);
    }
    const answer = await model.predict(audio);
    showAnswer(name, answer, (performance.now() - before) / 1000);
  } catch (error) {
    showError(`${name} cannot be predicted: ${error.message}.`);
  }
  showStatus("");
  setBusy(false);
}

function predictFile(chosen) {
  return predict(chosen.name, async () => {
    if (chosen.size > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES / 1e6} MB; cut it`);
    return decode(await chosen.arrayBuffer());
  });
}

function clearAnswer() {
  element("answer").replaceChildren();
  element("probabilities").hidden = true;
}

function showAnswer(name, answer, elapsed) {
  const { labels, colors, min_confidence: minConfidence } = model.description;
  const confidence = Math.max(...answer.probabilities);
  const headline = paragraph("emotion", answer.emotion);
  const details = [`${name}: ${answer.seconds.toFixed(1)} s`];
  if (answer.speechSeconds) details.push(`of which ${answer.speechSeconds.toFixed(1)} s are speech`);
  if (answer.distance !== undefined) {
    details.push(`distance ${answer.distance.toFixed(2)} (1 on average in training)`);
  }
  details.push(`predicted in ${elapsed.toFixed(2)} s`);
  element("answer").dataset.seconds = elapsed;
  const lines = [headline, paragraph("details", `${details.join(", ")}.`)];
  lines.push(...answer.notes.map((note) => paragraph("details", `Note: ${note}.`)));
  if (answer.probabilities.length) {
    const share = document.createElement("span");
    share.textContent = ` ${percent(confidence)}`;
    headline.append(share);
    if (minConfidence !== null && confidence < minConfidence) {
      const text = `Uncertain: in two thirds of its validation recordings, the model reaches ${percent(minConfidence)}.`;
      lines.splice(1, 0, paragraph("details", text));
    }
  }
  element("answer").replaceChildren(...lines);
  const rows = answer.probabilities.map((probability, number) =>
    row(labels[number], probability, colors[number], labels[number] === answer.emotion),
  );
  element("probabilities").tBodies[0].replaceChildren(...rows);
  element("probabilities").hidden = !rows.length;
}

function row(label, probability, color, isPredicted) {
  const made = document.createElement("tr");
  made.dataset.probability = probability;
  made.classList.toggle("predicted", isPredicted);
  const bar = document.createElement("div");
  bar.className = "bar";
  bar.style.width = `${100 * probability}%`;
  bar.style.background = color;
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = label;
  made.append(head);
  made.insertCell().append(bar);
  made.insertCell().textContent = percent(probability);
  return made;
}

function paragraph(className, text) {
  const made = document.createElement("p");
  made.className = className;
  made.textContent = text;
  return made;
}

function percent(probability) {
  return `${(100 * probability).toFixed(0)} %`;
}

async function toggleRecording() {
  if (isBusy && !stopRecording) return undefined;
  if (stopRecording) {
    clearInterval(timer);
    const audio = stopRecording();
    stopRecording = null;
    recordButton.textContent = "Record";
    recordButton.classList.remove("recording");
    return predict("Your recording", () => audio);
  }
  showError("");
  setBusy(true);
  try {
    stopRecording = await record(recorder);
  } catch (error) {
    showError(`Recording failed: ${error.message}.`);
    setBusy(false);
    return undefined;
  }
  clearAnswer();
  recordButton.textContent = "Stop";
  recordButton.classList.add("recording");
  showStatus("Recording …");
  const began = performance.now();
  timer = setInterval(() => {
    const seconds = (performance.now() - began) / 1000;
    recordButton.textContent = `Stop (${seconds.toFixed(0)} s)`;
    if (seconds > MAX_DURATION_S - 1) toggleRecording();
  }, 500);
  return undefined;
}

file.addEventListener("click", (event) => {
  if (isBusy) event.preventDefault();
});
file.addEventListener("change", async () => {
  const [chosen] = file.files;
  if (chosen) await predictFile(chosen);
  file.value = ""; // so that the same file can be chosen again
});
recordButton.addEventListener("click", toggleRecording);
// A file that is dropped beside the box would replace the page.
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
document.addEventListener("dragover", () => input.classList.add("dragged"));
for (const name of ["dragleave", "drop"]) document.addEventListener(name, () => input.classList.remove("dragged"));
document.addEventListener("drop", (event) => {
  const [dropped] = event.dataTransfer.files;
  if (dropped && !file.disabled && !isBusy) predictFile(dropped);
});

start();
