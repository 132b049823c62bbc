// A zip archive of stored files (APPNOTE 6.3.3): pictures are compressed already.

const CRC = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) crc = CRC[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** The time as MS-DOS writes it. */
function stamp(date) {
  const time = (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1);
  const day = ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate();
  return ((day << 16) | time) >>> 0;
}

/** Fields of 2 or 4 bytes, little-endian, from pairs of size and value. */
function fields(...pairs) {
  const view = new DataView(new ArrayBuffer(pairs.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of pairs) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}

/** "photo.jpg" a second time is "photo (2).jpg". */
function distinct(name, taken) {
  const dot = name.lastIndexOf(".");
  const [stem, suffix] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  let free = name;
  for (let count = 2; taken.has(free.toLowerCase()); count++) free = `${stem} (${count})${suffix}`;
  taken.add(free.toLowerCase());
  return free;
}

/** files: [{name, blob}]. A Blob; throws a RangeError above the 4 GB that the format without extensions holds. */
export async function zip(files) {
  const parts = [], directory = [], taken = new Set();
  const when = stamp(new Date());
  let offset = 0;
  for (const { name, blob } of files) {
    if (offset + blob.size > 0xf0000000) throw new RangeError("more than 4 GB do not fit into one zip");
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const text = new TextEncoder().encode(distinct(name, taken));
    // Version 2.0, names in UTF-8, stored.
    const common = [[2, 20], [2, 0x800], [2, 0], [4, when], [4, crc32(bytes)], [4, bytes.length], [4, bytes.length], [2, text.length], [2, 0]];
    const head = fields([4, 0x04034b50], ...common);
    directory.push(fields([4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), text);
    parts.push(head, text, blob);
    offset += head.length + text.length + bytes.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = files.length;
  const end = fields([4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, offset], [2, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
