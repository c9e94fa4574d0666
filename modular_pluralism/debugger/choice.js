"use strict";
// The rules by which an assembly chooses, as modular_pluralism/societal has them: what is rounded, how ties go and what
// stands in the place of a missing score are the same there. A table is { scores, weights, slate }: scores[member][candidate]
// from 0 to 1, null where there is none; weights[member]; and how many candidates a slate has.

const choice = (() => {
  /** As numpy rounds: halves go to the even digit. */
  function rounded(value, digits) {
    const factor = 10 ** digits;
    const scaled = value * factor;
    if (!Number.isFinite(scaled)) return value;
    const low = Math.floor(scaled);
    const rest = scaled - low;
    return (rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low) / factor;
  }
  const ofScore = (value) => rounded(value, 12); // as table.py tells scores apart
  const ofKey = (value) => rounded(value, 10); // as places.py tells keys and weights apart

  const total = (values) => values.reduce((sum, value) => sum + value, 0);
  const column = (scores, at) => scores.map((row) => row[at]);

  const normalisers = {
    none: (given) => given,
    range(given) {
      const [low, high] = [Math.min(...given), Math.max(...given)];
      return given.map((score) => (high > low ? (score - low) / (high - low) : 0.5));
    },
    rank(given) {
      if (given.length === 1) return [0.5];
      const same = given.map(ofScore);
      const below = (score) => total(same.map((other) => (score > other ? 1 : score === other ? 0.5 : 0))) - 0.5;
      return same.map((score) => below(score) / (given.length - 1));
    },
  };

  /** The scores that count: normalised, and with a member's mean in the place of one that it has not given. */
  function used(scores, normalise) {
    return scores.map((row) => {
      const changed = normalisers[normalise](row.filter((score) => score !== null));
      const mean = total(changed) / changed.length;
      let next = 0;
      return row.map((score) => ofScore(score === null ? mean : changed[next++]));
    });
  }

  /** Places by keys, one number for each candidate in each, of which the first that differs decides; 0 is the best. */
  function placesBy(keys) {
    const same = keys.map((key) => key.map(ofKey));
    const differ = (one, other) => same.map((key) => key[other] - key[one]).find((by) => by < 0 || by > 0) ?? 0;
    const order = same[0].map((_, at) => at).sort((one, other) => differ(one, other) || one - other);
    const places = [];
    let place = 0;
    order.forEach((at, next) => {
      if (next && differ(order[next - 1], at)) place += 1;
      places[at] = place;
    });
    return places;
  }

  /** For each candidate, what each member adds by its score, summed by the members' shares of the weight. */
  const summed = (scores, shares, part) =>
    scores[0].map((_, at) => total(column(scores, at).map((score, member) => shares[member] * part(score))));

  function borda(scores, shares) {
    const others = scores[0].length - 1;
    const points = scores.map((row) =>
      row.map((score) => {
        const above = row.filter((other) => score > other).length;
        const below = row.filter((other) => score < other).length;
        return others ? (above - below + others) / (2 * others) : 0;
      }),
    );
    return placesBy([summed(points, shares, (point) => point)]);
  }

  function maximin(scores, shares) {
    const counted = scores.filter((_, member) => shares[member] > 0);
    return placesBy([scores[0].map((_, at) => Math.min(...column(counted, at)))]);
  }

  function leximin(scores, shares) {
    const count = scores[0].length;
    let places = Array(count).fill(0);
    let level = Array(count).fill(-Infinity);
    do {
      level = level.map((before, at) =>
        Math.min(...column(scores, at).filter((score, member) => shares[member] > 0 && score > before)),
      );
      const weight = level.map((found, at) =>
        total(column(scores, at).map((score, member) => (score === found ? shares[member] : 0))),
      );
      places = placesBy([places.map((place) => -place), level, weight.map((each) => -each)]);
    } while (Math.max(...places) < count - 1 && level.some(Number.isFinite));
    return places;
  }

  function schulze(scores, shares) {
    const all = scores[0].map((_, at) => at);
    const votes = all.map((one) =>
      all.map((other) => ofKey(total(scores.map((row, member) => (row[one] > row[other] ? shares[member] : 0))))),
    );
    const paths = votes.map((row, one) => row.map((vote, other) => (vote > votes[other][one] ? vote : 0)));
    for (const between of all) {
      const to = all.map((one) => paths[one][between]);
      const from = [...paths[between]];
      for (const one of all) {
        for (const other of all) paths[one][other] = Math.max(paths[one][other], Math.min(to[one], from[other]));
      }
    }
    return placesBy([all.map((one) => -all.filter((other) => paths[other][one] > paths[one][other]).length)]);
  }

  /** By the largest score that 1/size of the weight, or more, gives a candidate at least. */
  function slate(scores, shares, size) {
    const level = scores[0].map((_, at) => {
      const liked = column(scores, at).map((score, member) => [score, shares[member]]);
      liked.sort((one, other) => other[0] - one[0]);
      let sum = 0;
      const carried = liked.map(([, share]) => (sum += share));
      const quota = Math.min(1 / size, sum);
      return liked[carried.findIndex((weight) => weight >= quota - 1e-10)][0];
    });
    return placesBy([level]);
  }

  const rules = {
    utilitarian: (scores, shares) => placesBy([summed(scores, shares, (score) => score)]),
    nash: (scores, shares) =>
      placesBy([
        summed(scores, shares, (score) => (score > 0 ? 1 : 0)),
        summed(scores, shares, (score) => (score > 0 ? Math.log(score) : 0)),
      ]),
    maximin,
    leximin,
    borda,
    schulze,
    slate,
  };

  function gini(scores, shares) {
    const mean = total(scores.map((score, at) => shares[at] * score));
    if (mean === 0) return 0;
    const apart = (one) => total(scores.map((other, at) => shares[at] * Math.abs(one - other)));
    return total(scores.map((score, at) => shares[at] * apart(score))) / (2 * mean);
  }

  function price(scores, shares, winner) {
    const means = summed(scores, shares, (score) => score);
    const best = Math.max(...means);
    return best === 0 ? 0 : Math.max(0, (best - means[winner]) / best);
  }

  /** The candidates' places under every rule, by its name, of scores that count and the members' shares of the weight. */
  const placesUnder = (scores, shares, size) =>
    Object.fromEntries(Object.entries(rules).map(([name, places]) => [name, places(scores, shares, size)]));

  /** The members' shares of the weight; null where nobody has any. */
  function sharesOf(weights) {
    const sum = total(weights);
    return sum > 0 ? weights.map((weight) => weight / sum) : null;
  }

  /** What comes of a table under a rule and a normalising, by places in the table; null where nobody has a weight. */
  function tally(table, rule, normalise) {
    const shares = sharesOf(table.weights);
    if (shares === null) return null;
    const scores = used(table.scores, normalise);
    const placed = placesUnder(scores, shares, table.slate);
    const places = placed[rule];
    const winner = places.indexOf(0);
    const ofWinner = column(scores, winner);
    const least = Math.min(...ofWinner.filter((_, member) => shares[member] > 0));
    return {
      used: scores,
      places,
      winner,
      level: places.flatMap((place, at) => (place === 0 ? [at] : [])),
      ranking: places.map((_, at) => at).sort((one, other) => places[one] - places[other] || one - other),
      winners: Object.fromEntries(Object.entries(placed).map(([name, each]) => [name, each.indexOf(0)])),
      worstOff: ofWinner.findIndex((score, member) => shares[member] > 0 && score === least),
      worstScore: least,
      gini: gini(ofWinner, shares),
      price: price(scores, shares, winner),
    };
  }

  return { tally, used, sharesOf, placesUnder, normalisers: Object.keys(normalisers) };
})();
