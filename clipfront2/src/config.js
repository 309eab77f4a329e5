/* global FRONTEND_CONFIG -- put in by the build, from frontend_config.json */

/** @type {import("./lib/config.js").Config} */
export default FRONTEND_CONFIG;
