// Texts of token ids, as supernet/runtime/symbols.py makes them.

const BLANK = 0;
const BEGIN = "\u2581"; // SentencePiece's sign for the space before a word
const STAND_IN = "\ue581"; // the one that texts have instead of it
const SPACES = { characters: " ", pieces: BEGIN, words: null };
const BYTES = /(?:<0x[0-9A-F]{2}>)+/g;
const UNSEEN = /[\u00ad\u200b\u2060\ufeff\u180e\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
// Scripts, and emoji, in which joiners and non-joiners have a meaning.
const JOINING =
  "\\u0600-\\u0dff\\u0f00-\\u109f\\u1780-\\u18af\\u1b00-\\u1cff\\ua840-\\ua9df\\uaa60-\\uaaff\\uabc0-\\uabff" +
  "\\ufb50-\\ufdff\\ufe70-\\ufefc\\u{10a00}-\\u{10aff}\\u{11000}-\\u{11fff}" +
  "\\u2600-\\u27bf\\ufe0f\\u{1f000}-\\u{1faff}";
const MEANS_NOTHING = new RegExp(`(?<![${JOINING}])[\\u200c\\u200d]+|[\\u200c\\u200d]+(?=\\s|$)`, "gu");

/**
 * The words of a path, the token id of each frame: repetitions are collapsed, blanks removed.
 *
 * @param path The token ids.
 * @param symbols The symbol of each token id; the first is the blank.
 * @param kind The kind of tokens: characters, pieces or words.
 */
export function wordsOf(path, symbols, kind) {
  const found = path.filter((id, i) => id !== BLANK && id !== path[i - 1]).map((id) => symbols[id]);
  const space = SPACES[kind];
  const words = space === null ? found : found.join("").split(space).filter(Boolean);
  const plain = kind === "pieces" ? words.map(withoutBytes) : words;
  return plain.map(unified).join(" ").split(" ").filter(Boolean);
}

function withoutBytes(word) {
  return word.replace(BYTES, (found) => decoded(found.match(/[0-9A-F]{2}(?=>)/g))).replaceAll(STAND_IN, BEGIN);
}

/** The characters of hexadecimal bytes, with a replacement for each byte that belongs to none. */
function decoded(numbers) {
  const bytes = Uint8Array.from(numbers, (number) => parseInt(number, 16));
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  for (let start = 0; start < bytes.length; ) {
    const ends = [1, 2, 3, 4].map((length) => start + length).filter((end) => end <= bytes.length);
    const end = ends.find((end) => isCharacter(decoder, bytes.subarray(start, end)));
    text += end === undefined ? "\ufffd" : decoder.decode(bytes.subarray(start, end));
    start = end ?? start + 1;
  }
  return text;
}

function isCharacter(decoder, bytes) {
  try {
    decoder.decode(bytes);
    return true;
  } catch {
    return false;
  }
}

/** Normalize to NFC, without invisible characters. */
function unified(text) {
  return text.replace(UNSEEN, "").replace(MEANS_NOTHING, "").normalize("NFC");
}
