/** Everything the page asks of the server. This file holds the only `fetch`. */
import { requestTerms, sorted } from "./terms.js";
import { withThumbnails } from "./thumbnails.js";

const SENTENCES = {
  400: "The server did not understand this query.",
  404: "The server does not know this.",
  413: "That is too large for the server.",
  429: "The server has too much to do. Try again in a moment.",
  503: "The server is not ready yet. Try again in a moment.",
};

/** Its message is a sentence for people. `status` is 0 when no answer came at all. */
export class ApiError extends Error {
  /**
   * @param {string} sentence
   * @param {number} status
   */
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** @param {number} status */
function sentenceFor(status) {
  return SENTENCES[/** @type {keyof typeof SENTENCES} */ (status)] ?? `Something went wrong on the server (${status}).`;
}

/**
 * @param {Response} response
 * @returns {Promise<any>}
 */
async function readAnswer(response) {
  let body;
  try {
    body = await response.json();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    body = undefined;
  }
  if (!response.ok) {
    throw new ApiError(typeof body?.error === "string" ? body.error : sentenceFor(response.status), response.status);
  }
  if (body === undefined) throw new ApiError("The server sent an answer that this page cannot read.", response.status);
  return body;
}

/**
 * @param {string} base address of the server, with a slash at its end
 * @param {typeof fetch} [send]
 */
export function makeCall(base, send = (...request) => fetch(...request)) {
  /**
   * @param {string} path
   * @param {RequestInit} [options]
   */
  return async function call(path, options) {
    let response;
    try {
      response = await send(base + path, options);
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new ApiError("The server cannot be reached. Check that it is running and that you are connected to it.", 0);
    }
    return readAnswer(response);
  };
}

/**
 * @param {string} base address of the server, with a slash at its end
 * @param {typeof fetch} [send]
 * @param {string} [thumbs] address of the folder of thumbnails, with a slash at its end
 */
export function makeApi(base, send, thumbs = `${base}thumbs/`) {
  const call = makeCall(base, send);

  return {
    /**
     * @param {import("./terms.js").Term[]} terms none: the newest pictures
     * @param {{k: number, offset: number, signal?: AbortSignal}} page
     * @returns {Promise<import("./results.js").Page>}
     */
    search: async (terms, { k, offset, signal }) => {
      const body = JSON.stringify({ terms: requestTerms(terms), k, offset, ...(sorted(terms) && { sort: "taste" }) });
      const page = await call("api/search", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
      return withThumbnails(page, thumbs);
    },

    /**
     * @param {Blob} image
     * @returns {Promise<{embedding: string, model_id: string}>}
     */
    embed: (image) =>
      call("api/embed", { method: "POST", headers: { "Content-Type": image.type || "application/octet-stream" }, body: image }),

    /** @returns {Promise<import("./progress.js").Status>} */
    status: () => call("api/status"),

    /**
     * @param {number} offset
     * @returns {Promise<{total: number, failures: {file: string, reason: string, at: string}[]}>}
     */
    failures: (offset) => call(`api/failures?limit=100&offset=${offset}`),
  };
}
