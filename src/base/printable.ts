/** Text that came from elsewhere, on one line: nothing in it can steer a terminal, or forge a line. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, escaped);
}

/** JSON has short forms for some, and leaves those above U+007E as they are, which terminals obey. */
function escaped(control: string): string {
  const code = control.charCodeAt(0);
  if (code < 0x20) return JSON.stringify(control).slice(1, -1);
  return `\\u${code.toString(16).padStart(4, '0')}`;
}
