import { mount } from "svelte";
import Rate from "./Rate.svelte";

mount(Rate, { target: /** @type {HTMLElement} */ (document.getElementById("app")) });
