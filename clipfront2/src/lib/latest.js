/**
 * Only the newest task counts: an older one is aborted, and whatever it still answers is dropped.
 */
export class Latest {
  /** @type {AbortController | null} */
  #current = null;

  /**
   * @template T
   * @param {(signal: AbortSignal) => Promise<T>} task
   * @returns {Promise<{fresh: true, value: T} | {fresh: false}>} not fresh: something newer began
   * @throws what the task throws, while it is the newest
   */
  async run(task) {
    this.cancel();
    const controller = new AbortController();
    this.#current = controller;
    try {
      const value = await task(controller.signal);
      return controller.signal.aborted ? { fresh: false } : { fresh: true, value };
    } catch (error) {
      if (controller.signal.aborted) return { fresh: false };
      throw error;
    }
  }

  cancel() {
    this.#current?.abort();
    this.#current = null;
  }
}
