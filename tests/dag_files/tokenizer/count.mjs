// Counts the tokens of each text in a JSON list: `node count.mjs FILE`.
import { countTokens } from "@anthropic-ai/tokenizer";
import { encode } from "gpt-tokenizer/encoding/o200k_base";
import { readFileSync } from "node:fs";

const texts = JSON.parse(readFileSync(process.argv[2], "utf-8"));
const counts = { o200k_base: texts.map((text) => encode(text).length), claude_2: texts.map((text) => countTokens(text)) };
console.log(JSON.stringify(counts));
