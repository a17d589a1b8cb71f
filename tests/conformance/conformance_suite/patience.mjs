// Gives a program more time, from outside: its clock runs slower, and what it waits for may take as much longer.
// The suite has windows of 0.5 to 30 seconds in its code, made for tools that answer at once; a run of a dag takes
// seconds, and minutes on a busy machine. Short pauses stay as they are, or every look at a task would take longer.

const FACTOR = Number(process.env.PATIENCE);
const SHORTEST_WINDOW = 500; // milliseconds

const { now } = Date;
const began = now();
Date.now = () => began + Math.round((now() - began) / FACTOR);

const { setTimeout } = globalThis;
globalThis.setTimeout = (callback, delay, ...words) =>
  setTimeout(callback, delay < SHORTEST_WINDOW ? delay : delay * FACTOR, ...words);
