// Recording with the microphone.

/**
 * Prepare the recorder, so that nothing has to be loaded later.
 *
 * @returns {Promise<AudioContext | null>} Null if this browser cannot record, or not on an unencrypted page.
 */
export async function loadRecorder() {
  if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) return null;
  const context = new AudioContext();
  await context.audioWorklet.addModule("recorder.js");
  return context;
}

/** Start to record; returns a function that stops and returns the audio, as `decode` of files.js does. */
export async function record(context) {
  let stream;
  try {
    // The browser's processing for calls would change level and spectrum, which carry information about emotions.
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    stream = await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new Error(
      error.name === "NotAllowedError"
        ? "the microphone is blocked; allow it for this page in the settings of your browser"
        : "no microphone was found; connect one, or choose a file",
    );
  }
  await context.resume();
  const source = context.createMediaStreamSource(stream);
  const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
  const chunks = [];
  recorder.port.onmessage = ({ data }) => chunks.push(data);
  source.connect(recorder);
  return () => {
    source.disconnect();
    stream.getTracks().forEach((track) => track.stop());
    context.suspend();
    const samples = new Float32Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
    chunks.reduce((at, chunk) => (samples.set(chunk, at), at + chunk.length), 0);
    return { rate: context.sampleRate, channels: [samples], isFloat: false, notes: [] };
  };
}
