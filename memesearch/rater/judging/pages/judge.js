// Judging pictures one by one. The server holds every judgement; this page holds only what it has not stored yet.

const RETRY_MS = 2000;
const SWIPE_PX = 70;
const PRELOADED = 3;
const $ = (id) => document.getElementById(id);

let pages = []; // of {waiting: [place], judged: [place], good: Set}
let page = null;
let number = 1;
let problem = "";
let unsaved = new Map(); // place → true, false, or null for a judgement taken back
let kept = ""; // what sessionStorage knows the unsaved ones by: they outlive a reload and a step to the other page
let saving = false;
const ready = new Map(); // place → Image, loaded before its turn

async function start() {
  const answer = await fetch("api/run", { cache: "no-store" });
  if (!answer.ok) throw new Error((await answer.json()).error);
  const run = await answer.json();
  kept = `unsaved ${location.pathname} ${run.run}`;
  unsaved = new Map(recall());
  pages = run.pages.map(({ places, judged: stored }) => {
    const said = [...unsaved.keys()].filter((place) => places.includes(place));
    const judged = stored.filter((place) => !unsaved.has(place)).concat(said.filter((place) => unsaved.get(place) !== null));
    return { total: places.length, waiting: places.filter((place) => !judged.includes(place)), judged };
  });
  const wanted = Number(new URLSearchParams(location.search).get("page")) || 1;
  number = Math.min(Math.max(1, wanted), pages.length);
  page = pages[number - 1];
  $("keys").checked = localStorage.getItem("judge-keys") !== "off";
  showKeys();
  show();
  void save();
}

/** What an earlier load of this page could not store, as entries of `unsaved`. */
function recall() {
  try {
    const entries = JSON.parse(sessionStorage.getItem(kept) ?? "[]");
    return entries.filter(([place, good]) => Number.isInteger(place) && [true, false, null].includes(good));
  } catch {
    return []; // storage is switched off, or holds something else
  }
}

function keep() {
  try {
    sessionStorage.setItem(kept, JSON.stringify([...unsaved]));
  } catch {
    // no room or no storage: what is unsaved lives as long as the page
  }
}

function show() {
  const place = page.waiting[0];
  for (const id of ["good", "bad"]) $(id).disabled = place === undefined;
  $("skip").disabled = page.waiting.length < 2;
  $("undo").disabled = page.judged.length === 0;
  $("progress").max = page.total;
  $("progress").value = page.judged.length;
  $("count").textContent = `${page.judged.length} of ${page.total} judged`;
  showPages();
  showPicture(place);
}

function showPages() {
  const links = pages.map(({ waiting }, index) => {
    const link = document.createElement("a");
    link.href = `?page=${index + 1}`;
    link.textContent = `Page ${index + 1}${waiting.length ? "" : " ✓"}`;
    if (index + 1 === number) link.setAttribute("aria-current", "page");
    return link;
  });
  $("pages").replaceChildren(...(pages.length > 1 ? links : []));
}

function showPicture(place) {
  for (const next of page.waiting.slice(0, PRELOADED)) {
    if (!ready.has(next)) ready.set(next, Object.assign(new Image(), { src: `pictures/${next}` }));
  }
  const picture = $("picture");
  picture.hidden = place === undefined;
  if (place === undefined) {
    picture.removeAttribute("src");
    delete picture.dataset.place;
    const other = pages.findIndex(({ waiting }) => waiting.length);
    $("note").textContent = other < 0 ? "All pictures are judged. Thank you!" : `This page is done. Page ${other + 1} is next.`;
    return;
  }
  $("note").textContent = "";
  picture.alt = `Picture ${page.judged.length + 1} of ${page.total}`;
  if (Number(picture.dataset.place) !== place) {
    picture.classList.add("coming"); // else the one before would stay in view until this one is there
    picture.dataset.place = place;
    picture.src = `pictures/${place}`;
  }
  for (const old of ready.keys()) if (!page.waiting.slice(0, PRELOADED).includes(old)) ready.delete(old);
}

/** Nothing can be said of a picture that is not there to be seen. */
function seen() {
  const picture = $("picture");
  return !picture.hidden && picture.complete && picture.naturalWidth > 0 && !picture.classList.contains("coming");
}

function judge(good) {
  if (!page.waiting.length || !seen()) return;
  const place = page.waiting.shift();
  page.judged.push(place);
  store(place, good);
  flash(good ? "good" : "bad");
  show();
}

function undo() {
  const place = page.judged.pop();
  if (place === undefined) return;
  page.waiting.unshift(place);
  store(place, null);
  show();
}

function skip() {
  if (page.waiting.length < 2) return;
  page.waiting.push(page.waiting.shift());
  show();
}

function flash(id) {
  $(id).classList.add("chosen");
  setTimeout(() => $(id).classList.remove("chosen"), 150);
}

function store(place, good) {
  unsaved.delete(place); // so that it goes to the end: judgements are stored in the order they were given
  unsaved.set(place, good);
  keep();
  void save();
}

async function save() {
  if (saving) return;
  saving = true;
  while (unsaved.size) {
    const [place, good] = unsaved.entries().next().value;
    problem = await send(place, good);
    if (problem) {
      $("problem").textContent = `${unsaved.size} not stored yet (${problem}). Trying again…`;
      $("problem").hidden = false;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    } else if (unsaved.get(place) === good) {
      unsaved.delete(place);
      keep();
    }
  }
  $("problem").hidden = true;
  saving = false;
}

/** The reason why it could not be stored, or "". */
async function send(place, good) {
  const how = good === null ? { method: "DELETE" } : { method: "PUT", body: JSON.stringify({ good }) };
  try {
    const answer = await fetch(`api/judgements/${place}`, how);
    if (answer.ok) return "";
    return (await answer.json()).error ?? `status ${answer.status}`;
  } catch {
    return "the server does not answer";
  }
}

const KEYS = {
  ArrowLeft: () => judge(false),
  ArrowRight: () => judge(true),
  Digit1: () => judge(false),
  Digit2: () => judge(true),
  KeyZ: undo,
  Backspace: undo,
  KeyS: skip,
};

function showKeys() {
  document.body.classList.toggle("no-keys", !$("keys").checked);
}

function listen() {
  $("good").addEventListener("click", () => judge(true));
  $("bad").addEventListener("click", () => judge(false));
  $("undo").addEventListener("click", undo);
  $("skip").addEventListener("click", skip);
  $("keys").addEventListener("change", () => {
    localStorage.setItem("judge-keys", $("keys").checked ? "on" : "off");
    showKeys();
  });
  document.addEventListener("keydown", (event) => {
    const action = KEYS[event.code];
    if (!action || !page || !$("keys").checked || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  });
  $("picture").addEventListener("load", () => $("picture").classList.remove("coming"));
  $("picture").addEventListener("error", () => {
    if ($("picture").hidden) return;
    $("picture").hidden = true;
    delete $("picture").dataset.place;
    for (const id of ["good", "bad"]) $(id).disabled = true;
    const next = page.waiting.length < 2 ? "The report does without it." : "Take the next one with “Later”.";
    $("note").textContent = `This picture cannot be shown; it may be gone.\n${next}`;
  });
  let from = null;
  $("stage").addEventListener("pointerdown", (event) => {
    from = event.pointerType === "mouse" ? null : event;
  });
  $("stage").addEventListener("pointerup", (event) => {
    const across = from ? event.clientX - from.clientX : 0;
    if (from && Math.abs(across) > SWIPE_PX && Math.abs(across) > 2 * Math.abs(event.clientY - from.clientY)) {
      judge(across > 0);
    }
    from = null;
  });
  $("stage").addEventListener("pointercancel", () => (from = null));
  addEventListener("beforeunload", (event) => {
    if (unsaved.size) event.preventDefault();
  });
}

listen();
start().catch((error) => {
  $("problem").textContent = `The pictures cannot be loaded: ${error.message}. Reload the page to try again.`;
  $("problem").hidden = false;
});
