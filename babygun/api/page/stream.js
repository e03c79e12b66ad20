// The stream of changes, GET /events: one for all tabs of a browser, which gives a server six
// connections at most. It runs as a shared worker; a browser without these runs one in each tab.
//
// A tab says { want, who, hidden }: want is { id }, { only: "overview" }, {} or null, and who is
// signed in. It gets { state, since }, { name, data } for each event, and { opened }: from now on
// no change is missed, but what was read before may be old.

const UNSEEN = 20_000; // ms after which the stream is closed, while no tab is seen
const FORGET = 300_000; // ms after which a tab counts as closed that says nothing
const LONGEST_PAUSE = 30_000; // ms between two attempts
const MISSING = 2.5; // signs of life that may be late before the stream counts as silent
const NAMES = ["email", "gone", "overview", "reset", "alive"];

export class Stream {
  // `unseen`: how long it stays open while no tab is seen.
  constructor(unseen = UNSEEN) {
    Object.assign(this, { unseen, tabs: new Set(), source: null, asked: null, who: null });
    Object.assign(this, { last: null, state: "off", heard: 0, opened: 0, pause: 1000, beat: 4000 });
    setInterval(() => this.check(), 1000);
  }

  // `post` sends to a tab. Returns what takes its messages.
  connect(post) {
    const tab = { post, want: null, fresh: false, at: Date.now() };
    return (message) => {
      tab.at = Date.now();
      if (message.bye) this.tabs.delete(tab);
      else {
        if (!this.tabs.has(tab)) tab.fresh = true;
        this.tabs.add(tab);
        if ("want" in message) this.wants(tab, message);
        if ("hidden" in message) tab.hidden = message.hidden;
        if (message.out) for (const one of this.tabs) if (one !== tab) one.post({ out: true });
      }
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.adjust(), 20); // a view closes, and the next one opens
    };
  }

  wants(tab, { want, who }) {
    if (JSON.stringify(want) !== JSON.stringify(tab.want)) tab.fresh = true;
    tab.want = want;
    if (who && who !== this.who) {
      this.release();
      Object.assign(this, { who, last: null });
      for (const one of this.tabs) one.fresh = true;
    }
    if (want) tab.post({ state: this.state, since: this.heard });
  }

  // What all tabs together want: null if nothing.
  get needed() {
    const wants = [...this.tabs].map((tab) => tab.want).filter(Boolean);
    if (!wants.length) return null;
    const [first] = wants.map((want) => JSON.stringify(want));
    return wants.every((want) => JSON.stringify(want) === first) ? wants[0] : {};
  }

  adjust() {
    clearTimeout(this.idle);
    if (![...this.tabs].some((tab) => !tab.hidden) && this.tabs.size)
      this.idle = setTimeout(() => this.release(), this.unseen);
    else this.ask();
  }

  ask() {
    const { needed } = this;
    if (!needed) return this.release();
    const asked = JSON.stringify(needed);
    if (!this.source || this.asked !== asked) {
      this.release();
      this.asked = asked;
      this.open();
    } else if (this.source.readyState === EventSource.OPEN) this.refresh();
  }

  open() {
    const query = { ...JSON.parse(this.asked), ...(this.last && { last_event_id: this.last }) };
    const source = new EventSource(`/events?${new URLSearchParams(query)}`);
    this.source = source;
    this.opened = Date.now();
    if (this.state !== "silent") {
      this.heard = this.opened;
      this.say("connecting");
    }
    source.onopen = () => {
      this.pause = 1000;
      this.hear();
      this.refresh();
    };
    source.onerror = () => {
      this.heard = Date.now();
      if (source.readyState !== EventSource.CLOSED) return this.say("connecting"); // it comes back
      this.source = null;
      this.say("polling");
      this.retry = setTimeout(() => this.ask(), this.pause);
      this.pause = Math.min(LONGEST_PAUSE, this.pause * 2);
    };
    for (const name of NAMES) source.addEventListener(name, (event) => this.event(name, event));
  }

  event(name, { data: text, lastEventId }) {
    this.hear();
    if (lastEventId) this.last = lastEventId;
    const data = JSON.parse(text);
    if (name === "alive") this.beat = (data.seconds ?? 4) * 1000;
    else for (const tab of this.tabs) if (fits(tab.want, name, data)) tab.post({ name, data });
  }

  hear() {
    this.heard = Date.now();
    this.say("live");
  }

  // Those that have begun to listen since the last time.
  refresh() {
    for (const tab of this.tabs) {
      if (tab.want && tab.fresh) tab.post({ opened: true });
      tab.fresh = false;
    }
  }

  check() {
    const now = Date.now();
    for (const tab of this.tabs) if (now - tab.at > FORGET) this.tabs.delete(tab);
    const most = MISSING * this.beat;
    if (!this.source || now - this.heard <= most) return;
    this.say("silent");
    if (now - Math.max(this.heard, this.opened) <= 2 * most) return;
    this.source.close(); // the connection may be broken, and nobody has said so
    this.open();
  }

  release() {
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
    this.state = "off";
  }

  say(state) {
    if (state === this.state) return;
    this.state = state;
    for (const tab of this.tabs) if (tab.want) tab.post({ state, since: this.heard });
  }
}

const fits = (want, name, { id }) =>
  want &&
  (name === "reset" ||
    (name === "overview" ? want.only : !want.only && (!want.id || want.id === id)));

if ("SharedWorkerGlobalScope" in globalThis) {
  const stream = new Stream();
  globalThis.onconnect = ({ ports: [port] }) => {
    const take = stream.connect((message) => port.postMessage(message));
    port.onmessage = ({ data }) => take(data);
  };
}
