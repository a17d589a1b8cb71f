// Extends a program's timeouts from outside: its clock runs slower by a factor, and its timers take as much longer.
// The suite has hard-coded timeouts of 0.5 to 30 seconds for tools that answer at once; a dag run takes seconds, or
// minutes on a busy machine. Short pauses are not extended, so that polling a task does not become slower.

const FACTOR = Number(process.env.PATIENCE);
const SHORTEST_WINDOW = 500; // milliseconds

const { now } = Date;
const began = now();
Date.now = () => began + Math.round((now() - began) / FACTOR);

const { setTimeout } = globalThis;
globalThis.setTimeout = (callback, delay, ...words) =>
  setTimeout(callback, delay < SHORTEST_WINDOW ? delay : delay * FACTOR, ...words);
