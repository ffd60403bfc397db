// Files on their way to the server: hashed, sent once, four at a time, in pieces that can be
// resumed. What is not sent yet survives a reload, a lost connection and a lost session.
//
// Uppy carries the bytes (tus) and keeps the files in the browser (Golden Retriever). Who goes
// when, and what a failure means, is decided here: each file is sent on its own, so that the state
// which Uppy keeps stays small with 500 files, and all retries are in one place.

import { Uppy } from "@uppy/core";
import GoldenRetriever, { MetaDataStore } from "@uppy/golden-retriever";
import Tus from "@uppy/tus";
import { ask, pause, SignedOut, token } from "./asking.js";
import { say } from "./words.js";

const AT_ONCE = 4;
const PIECE = 4 * 2 ** 20;
const KEPT_HERE = 2 * 2 ** 30; // bytes of unsent files that the browser keeps for a reload
const ASK_AT_ONCE = 25; // hashes in one question
const LONGEST_WAIT = 30_000;
const TRIES = 6; // when the server answers, but with an error of its own
const PREVIEWED = 8 * 2 ** 20;
const PREVIEWS = /^image\/(jpeg|png|webp|gif|avif|bmp)$/;

const backOff = (tries) => Math.min(1000 * 2 ** (tries - 1), LONGEST_WAIT);

async function hash(data) {
  const digest = await crypto.subtle.digest("SHA-256", await data.arrayBuffer());
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Uploads {
  #grid;
  #at;
  #uppy;
  #store;
  #unseen = []; // pictures to hash
  #asking = []; // pictures with a hash, about which the server is asked
  #waiting = []; // pictures to send
  #running = new Map(); // file id -> picture
  #errors = new Map(); // file id -> error
  #asked = new WeakMap(); // request -> file id
  #answers = new Map(); // file id -> the last answer about it
  #hashes = new Map(); // hash -> picture
  #halted = new Set();
  #hashing = false;
  #again = 0;
  #tries = 0;

  /** Files that were the same as another. */
  joined = 0;
  /** Files of this round: since the last time that nothing was on its way. */
  sent = 0;

  /**
   * `at`: addresses and limits (`tus`, `known`, `tool`, `owner`, `maxBytes`).
   * `told()` is called when it halts or goes on.
   */
  constructor(grid, at, told) {
    this.#grid = grid;
    this.#at = at;
    this.told = told;
  }

  /** Take up what an earlier page of this tab left unsent. */
  async begin(store) {
    this.#store = store;
    const uppy = new Uppy({ id: store, autoProceed: false });
    this.#uppy = uppy;
    uppy.use(Tus, {
      endpoint: this.#at.tus,
      limit: AT_ONCE,
      chunkSize: PIECE,
      retryDelays: [],
      storeFingerprintForResuming: false, // the Golden Retriever knows the address
      allowedMetaFields: ["filename", "tool"],
      onBeforeRequest: (request, file) => {
        this.#asked.set(request, file.id);
        request.setHeader("X-CSRFToken", token());
      },
      // An error comes with its answer, but Uppy has emptied that by then.
      onAfterResponse: (request, answer) => {
        const status = answer.getStatus();
        const told = status >= 400 ? parse(answer.getBody()) : null;
        this.#answers.set(this.#asked.get(request), { status, told });
      },
    });
    uppy.on("upload-error", (file, error) => this.#errors.set(file.id, error));
    uppy.on("upload-progress", (file, { bytesUploaded, bytesTotal }) => {
      const picture = file && this.#running.get(file.id);
      if (picture && bytesTotal) this.#grid.progress(picture, bytesUploaded / bytesTotal);
    });
    window.addEventListener("online", () => this.#goOn("offline"));
    window.addEventListener("offline", () => this.halt("offline"));
    window.addEventListener("pagehide", () => this.#forgetWhenEmpty());
    if (!navigator.onLine) this.#halted.add("offline");
    if (!this.#at.owner) this.#halted.add("signedOut");
    await this.#restore(store);
  }

  get onTheWay() {
    return this.#unseen.length + this.#asking.length + this.#waiting.length + this.#running.size;
  }

  /** Why nothing is sent: "signedOut", "offline", "paused", or nothing. */
  get halted() {
    return ["signedOut", "offline", "paused"].find((reason) => this.#halted.has(reason));
  }

  /** The connection broke a moment ago; it is tried again. */
  get isTrying() {
    return this.#tries > 0;
  }

  /** Add chosen or dropped files. */
  add(files) {
    const pictures = [];
    for (const file of files) {
      const ghost = this.#ghostOf(file);
      if (ghost) {
        this.#replace(ghost, file);
        continue;
      }
      const picture = { key: crypto.randomUUID(), kind: "file", name: file.name, file };
      picture.state = "waiting";
      picture.folder = folderOf(file);
      if (file.size <= PREVIEWED && PREVIEWS.test(file.type)) {
        picture.preview = URL.createObjectURL(file);
      }
      pictures.push(picture);
    }
    this.#grid.add(pictures);
    this.#keep(pictures);
    this.#look(pictures);
  }

  /** Send this file instead of the one that the card stood for. */
  #replace(picture, file) {
    this.#drop(picture);
    this.#grid.update(picture, {
      file,
      name: file.name,
      state: "waiting",
      message: "",
      can: null,
      share: 0,
      refused: null,
    });
    this.#keep([picture]);
    this.#look([picture]);
  }

  replace(picture, file) {
    this.#replace(picture, file);
  }

  /** Try a card once more. */
  again(picture) {
    this.#grid.update(picture, { state: "waiting", message: "", can: null, tries: 0 });
    this.#waiting.push(picture);
    this.#next();
  }

  /** The card is gone: so is its file. */
  forget(picture) {
    for (const queue of [this.#unseen, this.#asking, this.#waiting]) {
      const place = queue.indexOf(picture);
      if (place >= 0) queue.splice(place, 1);
    }
    if (this.#hashes.get(picture.hash) === picture) this.#hashes.delete(picture.hash);
    this.#drop(picture);
  }

  halt(reason) {
    if (this.#halted.has(reason)) return;
    this.#halted.add(reason);
    if (this.#uppy) this.#uppy.pauseAll();
    for (const picture of this.#running.values()) {
      if (picture.state === "uploading") this.#grid.update(picture, { state: "paused" });
    }
    this.told();
  }

  goOn(reason) {
    this.#goOn(reason);
  }

  #goOn(reason) {
    if (!this.#halted.delete(reason)) return;
    if (this.#halted.size === 0) {
      this.#tries = 0;
      if (this.#uppy) this.#uppy.resumeAll();
      for (const picture of this.#running.values()) {
        if (picture.state === "paused") this.#grid.update(picture, { state: "uploading" });
      }
      this.#examine();
      this.#next();
    }
    this.told();
  }

  // --- What the browser keeps ---------------------------------------------------------

  #keep(pictures) {
    const { tool, owner } = this.#at;
    this.#uppy.addFiles(
      pictures.map(({ key, file, folder }) => ({
        name: file.name,
        type: file.type,
        data: file,
        // The path makes two files of one name, size and time two files.
        meta: { filename: file.name, tool, owner, key, folder, relativePath: crypto.randomUUID() },
      })),
    );
    const byKey = new Map(pictures.map((picture) => [picture.key, picture]));
    for (const { id, meta } of this.#uppy.getFiles()) {
      const picture = byKey.get(meta.key);
      if (picture) picture.fileId = id;
    }
  }

  #drop(picture) {
    const { fileId } = picture;
    if (!fileId) return;
    picture.fileId = null;
    this.#running.delete(fileId);
    this.#errors.delete(fileId);
    this.#answers.delete(fileId);
    if (this.#uppy.getFile(fileId)) this.#uppy.removeFile(fileId);
  }

  // The Golden Retriever writes its list with a delay; a page that leaves in between would come
  // back with ghosts of files that are long sent.
  #forgetWhenEmpty() {
    if (this.#uppy.getFiles().length === 0) localStorage.removeItem(`uppyState:${this.#store}`);
  }

  async #restore(store) {
    const uppy = this.#uppy;
    const left = new MetaDataStore({ storeName: store }).load();
    // It replaces all files when it has found its own, so nothing may be added before. And it says
    // nothing when it has found none.
    const restored = left && new Promise((done) => uppy.once("restored", done));
    uppy.use(GoldenRetriever, {
      indexedDB: { maxFileSize: this.#at.maxBytes, maxTotalSize: KEPT_HERE },
    });
    await restored;
    // Its list of uploads under way is about a page that is gone.
    uppy.setState({ currentUploads: {}, recoveredState: null });
    const pictures = [];
    for (const file of uppy.getFiles()) {
      if (file.meta.owner && file.meta.owner !== this.#at.owner) {
        uppy.removeFile(file.id); // somebody else's, on the same computer
        continue;
      }
      const picture = { key: file.meta.key, kind: "file", name: file.name, fileId: file.id };
      picture.state = "waiting";
      picture.file = file.data;
      picture.size = file.size;
      picture.isRestored = true;
      picture.folder = file.meta.folder;
      picture.address = file.tus?.uploadUrl;
      uppy.setFileState(file.id, {
        isPaused: false,
        error: null,
        meta: { ...file.meta, owner: this.#at.owner },
        progress: { ...file.progress, uploadStarted: null, uploadComplete: false, percentage: 0 },
      });
      pictures.push(picture);
    }
    this.#grid.add(pictures);
    for (const picture of pictures) {
      if (!picture.file) this.#unghost(picture);
    }
    this.#look(pictures.filter(({ file }) => file));
  }

  // The browser has not kept the file. The server may have it all the same.
  async #unghost(picture) {
    if (picture.address && this.#at.owner) {
      try {
        const { status, told } = await ask(picture.address);
        if (status === 200) return this.#settle(picture, told);
      } catch {
        // Then it has to be chosen again.
      }
    }
    this.#grid.update(picture, { state: "ghost", message: say("ghostWhy"), can: "choose" });
  }

  #ghostOf(file) {
    return this.#grid.all.find(
      ({ state, name, size }) => state === "ghost" && name === file.name && size === file.size,
    );
  }

  // --- Is it known already? -----------------------------------------------------------

  #look(pictures) {
    this.#unseen.push(...pictures);
    this.#examine();
  }

  async #examine() {
    if (this.#hashing) return;
    this.#hashing = true;
    while (this.#unseen.length) {
      const picture = this.#unseen[0];
      const isHashed = crypto.subtle && picture.file.size <= this.#at.maxBytes;
      try {
        if (isHashed && !picture.hash) picture.hash = await hash(picture.file);
      } catch {
        // The file has gone from the disk, or can't be read: sending it will tell.
      }
      if (this.#unseen[0] !== picture) continue; // removed meanwhile
      this.#unseen.shift();
      if (!picture.hash) {
        this.#waiting.push(picture);
      } else if (this.#hashes.has(picture.hash)) {
        this.#join(picture);
      } else {
        this.#hashes.set(picture.hash, picture);
        this.#asking.push(picture);
      }
      if (this.#asking.length >= ASK_AT_ONCE || !this.#unseen.length) await this.#askWhatIsKnown();
      this.#next();
    }
    this.#hashing = false;
    this.#next();
  }

  async #askWhatIsKnown() {
    const asked = [...this.#asking];
    if (!asked.length) return;
    let known = {};
    if (!this.halted) {
      const files = asked.map(({ hash: sha256, name }) => ({ sha256, name }));
      try {
        const { told } = await ask(this.#at.known, { tool: this.#at.tool, files });
        known = told?.known ?? {};
      } catch (error) {
        if (error instanceof SignedOut) this.halt("signedOut");
        // What can't be found out is sent.
      }
    }
    for (const picture of asked) {
      const place = this.#asking.indexOf(picture);
      if (place < 0) continue;
      this.#asking.splice(place, 1);
      if (known[picture.hash]) this.#settle(picture, known[picture.hash]);
      else this.#waiting.push(picture);
    }
  }

  #join(picture) {
    if (!picture.isRestored) this.joined += 1;
    this.#drop(picture);
    this.#grid.remove(picture);
  }

  // --- Sending ------------------------------------------------------------------------

  #next() {
    while (!this.#halted.size && !this.#again && this.#running.size < AT_ONCE) {
      const picture = this.#waiting.shift();
      if (!picture) break;
      this.#send(picture);
    }
    if (!this.onTheWay) {
      this.sent = 0;
      this.told();
    }
  }

  async #send(picture) {
    const { fileId } = picture;
    this.#running.set(fileId, picture);
    this.#grid.update(picture, { state: "uploading", message: "", can: null });
    try {
      const told = await this.#carry(picture);
      if (this.#running.get(fileId) !== picture) return; // removed meanwhile
      this.#tries = 0;
      this.sent += 1;
      this.#settle(picture, told);
    } catch (error) {
      if (this.#running.get(fileId) !== picture) return;
      this.#running.delete(fileId);
      this.#failed(picture, error);
    } finally {
      this.told();
      this.#next();
    }
  }

  // All bytes of a file; gives what the server makes of them.
  async #carry(picture) {
    const { fileId } = picture;
    if (!picture.isCarried) {
      this.#answers.delete(fileId);
      const done = await this.#uppy.retryUpload(fileId);
      const error = this.#errors.get(fileId);
      this.#errors.delete(fileId);
      // Without an answer of this kind it was the connection that failed.
      const { status, told } = this.#answers.get(fileId) ?? {};
      if (error) throw Object.assign(error, status >= 400 ? { status, told } : {});
      if (!done?.successful.length) return null; // removed
      picture.isCarried = true;
    }
    const address = this.#uppy.getFile(fileId).response?.uploadURL;
    for (let wait = 100; ; wait = Math.min(wait * 2, 2000)) {
      const { status, told } = await ask(address);
      if (status === 200) return told;
      if (status !== 202) throw Object.assign(new Error("no result"), { status });
      await pause(wait);
    }
  }

  #failed(picture, error) {
    const { status, told } = error;
    if (error instanceof SignedOut || status === 401 || status === 403) {
      this.#waiting.unshift(picture);
      this.#grid.update(picture, { state: "waiting" });
      return this.halt("signedOut");
    }
    if (told?.refused) return this.#settle(picture, told);
    const isGone = status === 404 || status === 410;
    if (isGone) {
      picture.isCarried = false;
      this.#uppy.setFileState(picture.fileId, { tus: { uploadUrl: null } });
    }
    const isPassing = !status || status >= 500 || isGone || [409, 423, 429].includes(status);
    picture.tries = status ? (picture.tries ?? 0) + 1 : 0;
    if (!isPassing || picture.tries >= TRIES) {
      const message = told?.message || say("lostWhy");
      return this.#grid.update(picture, { state: "lost", message, can: "again" });
    }
    this.#waiting.unshift(picture);
    this.#grid.update(picture, { state: "waiting" });
    this.#tries += 1;
    if (this.#again) return;
    this.#again = setTimeout(() => {
      this.#again = 0;
      this.#next();
    }, backOff(this.#tries));
  }

  // What the server has said of a file: it has it, or it can't be used.
  #settle(picture, told) {
    if (!told) return;
    if (told.upload) {
      const twin = this.#grid.holding(told.upload);
      if (twin && twin !== picture) return this.#join(picture);
      this.#drop(picture);
      picture.file = null;
      const { upload, thumbnail, name } = told;
      this.#grid.update(picture, { state: "ready", upload, thumbnail, name: name || picture.name });
      return;
    }
    this.#drop(picture);
    const { file } = picture;
    const canShrink =
      told.code === "file_too_large" && file && typeof OffscreenCanvas === "function";
    this.#grid.update(picture, {
      state: "refused",
      refused: told.refused,
      message: told.message,
      can: canShrink ? "shrink" : null,
    });
  }
}

/** Where a file lay below what was chosen or dropped: `shoes/left`. */
function folderOf(file) {
  const path = file.webkitRelativePath || file.relativePath || "";
  return path.split("/").filter(Boolean).slice(0, -1).join("/");
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
