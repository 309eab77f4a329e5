import { mount } from "svelte";
import Queue from "./Queue.svelte";

mount(Queue, { target: /** @type {HTMLElement} */ (document.getElementById("app")) });
