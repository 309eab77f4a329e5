/** What `frontend_config.json` may hold. It is read when the page is built. */

const KEYS = ["image_path", "thumb_path", "backend_url", "name", "description"];
const FOLDERS = ["image_path", "thumb_path", "backend_url"];

/**
 * @typedef {{image_path: string, thumb_path: string, backend_url: string, name: string, description: string}} Config
 * @param {string} text
 * @param {string} file named in what is thrown
 * @returns {Config}
 * @throws {Error} with one sentence that names file and key
 */
export function readConfig(text, file) {
  let config;
  try {
    config = JSON.parse(text);
  } catch (error) {
    throw new Error(`${file} is not JSON: ${/** @type {Error} */ (error).message}.`);
  }
  if (config === null || typeof config !== "object" || Array.isArray(config)) throw new Error(`${file} must hold one JSON object.`);
  for (const key of Object.keys(config)) {
    if (!KEYS.includes(key)) throw new Error(`${file} has the unknown key "${key}"; known are ${KEYS.join(", ")}.`);
  }
  for (const key of KEYS) {
    if (!(key in config)) throw new Error(`${file} lacks the key "${key}".`);
    if (typeof config[key] !== "string") throw new Error(`${file}: "${key}" must be a string.`);
  }
  for (const key of FOLDERS) {
    if (!config[key].endsWith("/")) throw new Error(`${file}: "${key}" must end with a slash.`);
  }
  return config;
}
