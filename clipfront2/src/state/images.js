/** Pictures that people put in: telling whether they are pictures, and small previews of them. */

const PREVIEW_SIDE = 64;
const KEPT = "preview:";

/**
 * @param {DataTransfer | null} data of a paste or a drop
 * @returns {File[]}
 */
export function filesIn(data) {
  return data ? Array.from(data.files) : [];
}

/**
 * A file without a type may still be a picture: the server decides then.
 * @param {File} file
 */
export function mayBePicture(file) {
  return file.type === "" || file.type.startsWith("image/");
}

/**
 * @param {Blob} image
 * @returns {Promise<string | undefined>} a small data: address; nothing for what the browser cannot draw
 */
export async function makePreview(image) {
  try {
    const bitmap = await createImageBitmap(image);
    const side = Math.min(bitmap.width, bitmap.height);
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = PREVIEW_SIDE;
    const left = (bitmap.width - side) / 2;
    const top = (bitmap.height - side) / 2;
    canvas.getContext("2d")?.drawImage(bitmap, left, top, side, side, 0, 0, PREVIEW_SIDE, PREVIEW_SIDE);
    bitmap.close();
    return canvas.toDataURL("image/webp", 0.8);
  } catch {
    return undefined;
  }
}

/**
 * The address holds only the vector; the preview stays in this tab, so that it survives a reload.
 * @param {string} vector
 * @param {string} preview
 */
export function keepPreview(vector, preview) {
  try {
    sessionStorage.setItem(KEPT + vector.slice(0, 64), preview);
  } catch {
    // No room or no storage: the chip shows an icon after a reload.
  }
}

/** @param {string} vector */
export function keptPreview(vector) {
  try {
    return sessionStorage.getItem(KEPT + vector.slice(0, 64)) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Marks a tile of this page that is dragged, as against a picture from elsewhere. */
export const DRAGGED = "application/x-library-picture";
