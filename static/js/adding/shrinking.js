// Make a picture that is too large small enough, where the browser can read it.

const SIDES = [8000, 6000, 4500, 3400, 2500];
const QUALITY = 0.9;
const OPAQUE = new Set(["image/jpeg", "image/bmp"]);

/** The same picture in at most `most` bytes, under its name; nothing when this can't be done. */
export async function shrink(file, most) {
  let image;
  try {
    image = await createImageBitmap(file);
  } catch {
    return null;
  }
  // WebP keeps what is see-through; photos stay JPEG.
  const [type, ending] = OPAQUE.has(file.type) ? ["image/jpeg", "jpg"] : ["image/webp", "webp"];
  const name = `${file.name.replace(/\.\w+$/, "")}.${ending}`;
  const longest = Math.max(image.width, image.height);
  try {
    for (const side of new Set(SIDES.map((most) => Math.min(most, longest)))) {
      const scale = side / longest;
      const canvas = new OffscreenCanvas(
        Math.max(1, Math.round(image.width * scale)),
        Math.max(1, Math.round(image.height * scale)),
      );
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      const blob = await canvas.convertToBlob({ type, quality: QUALITY });
      if (blob.type === type && blob.size <= most) {
        return new File([blob], name, { type, lastModified: file.lastModified });
      }
    }
  } catch {
    // A canvas of this size is more than the browser has memory for.
  } finally {
    image.close();
  }
  return null;
}
