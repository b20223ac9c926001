// The words of a text that are different at another size.

/**
 * Compare the words of a text with those of others.
 *
 * @returns `words`, the indexes of words that some other text lacks at their place, and `gaps`, the indexes of
 *   words before which some other text has words more; the number of words is the gap at the end.
 */
export function changesOf(words, others) {
  const found = { words: new Set(), gaps: new Set() };
  for (const other of others) compare(words, other, found);
  return found;
}

function compare(words, other, found) {
  const matches = [...longestCommon(words, other), [words.length, other.length]];
  let [i, j] = [0, 0];
  for (const [nextI, nextJ] of matches) {
    if (i === nextI && j < nextJ) found.gaps.add(i);
    for (; i < nextI; i++) found.words.add(i);
    [i, j] = [nextI + 1, nextJ + 1];
  }
}

/** The pairs of indexes of a longest common subsequence. */
function longestCommon(a, b) {
  const lengths = Array.from({ length: a.length + 1 }, () => new Uint32Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      lengths[i][j] = a[i] === b[j] ? 1 + lengths[i + 1][j + 1] : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const pairs = [];
  for (let i = 0, j = 0; i < a.length && j < b.length; ) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (lengths[i + 1][j] >= lengths[i][j + 1]) i++;
    else j++;
  }
  return pairs;
}
