// What the parts of the page tell each other: every name is here, with what is told.

export const EVENTS = {
  ready: 'the controls of Steer are there',
  asked: 'a run of Steer is asked for: its request',
  ask: 'change the request of Steer: edit(request)',
  shown: 'a run of Steer shows its first token: its number',
  plan: 'what a plan became: { layers, curves }',
  cosines: 'the angles between the targets',
  wrong: 'what is wrong with a request of Steer, and the field it stands by: { problem, field }',
  said: 'a sentence for the status of Steer',
  stop: 'end a work of Steer: its name',
  sweep: 'sweep the request of Steer',
  vector: 'hand over the vectors of a concept: { concept, kind }',
  inspect: 'put a token of Steer under the lens: { run, side, index }',
  inspected: 'what the lens shows of a token',
  compare: 'send the texts of Steer to Compare',
  'front-asked': 'a run of Trade-offs is asked for',
  'front-shown': 'a run of Trade-offs shows its first token: its number',
  'front-pick': 'a point is picked: { point, add }',
  'front-points': 'the points of the front are others',
  'front-keep': 'an answer stays, or no longer: its id',
  'front-held': 'which answers stay has changed',
  'front-drop': 'an answer is taken away: its id',
  'front-people': 'ask for the votes of people, or for the judgements that ship: { example }',
  'front-wrong': 'the same of Trade-offs',
  'front-said': 'a sentence for the status of Trade-offs',
  'front-stop': 'end a work of Trade-offs: its name',
  'front-compare': 'send two answers to Compare: their ids',
  'place-failed': 'the server failed over what the link of Compare names',
};

/** The name of an event among those of the document. Throws for one that is not in the list. */
export function eventName(name) {
  if (!Object.hasOwn(EVENTS, name)) throw new Error(`${name} is no event of the page: add it to shared/events.js`);
  return `tw:${name}`;
}

/** What each part sends to Python, with what it carries; ui/parts.py reads this list too, as JSON. */
export const TRIGGERS = {
  "steer/controls": {
    "run": "a request of Steer: the texts are decoded, { run, prompt, plan, ... }",
    "stop": "end a work: { work }",
    "sweep": "a request of Steer, and whether bands are swept: { bands, ... }",
    "train": "teach a concept: { name, positive, negative } or { name, lines } or { name, gguf }",
    "write": "let the model write examples: { sentence }",
    "inspect": "a token under the lens: { run, side, index }",
    "vector": "hand over the vectors of a concept: { concept, kind }",
    "compare": "send the texts to Compare"
  },
  "tradeoffs/controls": {
    "run": "a request of Trade-offs: the texts are decoded, { run, prompt, picks, selected, ... }",
    "stop": "end a work: { work }",
    "score": "score a policy: { checkpoint } or { pick } or { plan }",
    "people": "the votes of people, once they are shown, or the judgements that ship: { example }",
    "compare": "send two answers to Compare: { ids }"
  },
  "tradeoffs/front": {
    "look": "is there a front of a later time?",
    "curves": "how the trainings went"
  },
  "shared/plot": {
    "point": "a point was clicked: { trace, index, customdata, shift }"
  },
  "shared/prepare": {
    "look": "how far the preparation is",
    "start": "begin it",
    "stop": "end it"
  },
  "compare/arena": {
    "vote": "a battle's answers: { battle, answers, comment, correcting }",
    "undo": "take a vote back: { battle }",
    "next": "the next battle",
    "practise": "battles that count for nothing",
    "earlier": "a page of one's own answers, or that which holds a battle: { page, battle }",
    "look": "an answer of one's own, to correct it: { battle }"
  },
  "compare/studies": {
    "pick": "a study is picked: { study }"
  },
  "compare/learn": {
    "look": "how far a training on votes is",
    "start": "begin one: { weights, steps }",
    "stop": "end it"
  },
  "compare/place": {
    "open": "the address names a study and a person: { study, name, visit }"
  },
  "compare/fresh": {
    "fresh": "results of so many votes are shown: { votes }"
  }
};
