/** What is remembered in this browser. */

/** @param {string} key */
function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {string} value
 */
function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is switched off: the choice holds until the page is closed.
  }
}

const systemDark = matchMedia("(prefers-color-scheme: dark)");

export class Settings {
  #chosen = $state(recall("theme"));
  #systemDark = $state(systemDark.matches);
  #singleKeys = $state(recall("single-keys") !== "off");
  #demoKnown = $state(recall("demo-note") === "off");
  /** Until a theme is chosen here the system's is followed. */
  dark = $derived(this.#chosen === "dark" || (this.#chosen !== "light" && this.#systemDark));

  constructor() {
    systemDark.addEventListener("change", (event) => (this.#systemDark = event.matches));
  }

  toggleTheme() {
    this.#chosen = this.dark ? "light" : "dark";
    document.documentElement.dataset.theme = this.#chosen;
    remember("theme", this.#chosen);
  }

  get singleKeys() {
    return this.#singleKeys;
  }

  set singleKeys(on) {
    this.#singleKeys = on;
    remember("single-keys", on ? "on" : "off");
  }

  /** The person knows that the demo model is one. */
  get demoKnown() {
    return this.#demoKnown;
  }

  set demoKnown(known) {
    this.#demoKnown = known;
    remember("demo-note", known ? "off" : "on");
  }
}
