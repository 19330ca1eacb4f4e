/** The keys from the root to a value, outermost first. */
export type KeyPath = readonly string[];

const bareOrQuoted = String.raw`(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')`;
const dotted = String.raw`${bareOrQuoted}(?:\s*\.\s*${bareOrQuoted})*`;
const header = new RegExp(String.raw`^\s*\[\[?\s*(${dotted})\s*\]`);
const assignment = new RegExp(String.raw`^\s*(${dotted})\s*=(.*)$`);

/**
 * The line, from 1, on which each table and key of a valid TOML text begins. The parser keeps no
 * positions, and an error message without a line is half a message. Keys inside inline tables have no
 * line of their own; `lineOf` answers with that of the value they stand in.
 */
export class KeyLines {
  readonly #lines = new Map<string, number>();

  constructor(toml: string) {
    let table: KeyPath = [];
    let open = '';
    for (const [index, line] of toml.split('\n').entries()) {
      if (open !== '') {
        open = stillOpen(open, line);
        continue;
      }
      const [, tableName] = header.exec(line) ?? [];
      const [, keyName, value] = assignment.exec(line) ?? [];
      if (tableName !== undefined) this.#note((table = split(tableName)), index + 1);
      else if (keyName !== undefined) {
        this.#note([...table, ...split(keyName)], index + 1);
        open = stillOpen('', value ?? '');
      }
    }
  }

  /** Undefined only when not even the outermost key stands in the text. */
  lineOf(key: KeyPath): number | undefined {
    for (let length = key.length; length > 0; length--) {
      const line = this.#lines.get(JSON.stringify(key.slice(0, length)));
      if (line !== undefined) return line;
    }
    return undefined;
  }

  #note(key: KeyPath, line: number): void {
    const name = JSON.stringify(key);
    if (!this.#lines.has(name)) this.#lines.set(name, line);
  }
}

function split(name: string): string[] {
  return [...name.matchAll(new RegExp(bareOrQuoted, 'g'))].map(([part]) => {
    if (part.startsWith("'")) return part.slice(1, -1);
    return part.startsWith('"') ? unescaped(part) : part;
  });
}

function unescaped(quoted: string): string {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return quoted.slice(1, -1);
  }
}

const token = /"""|'''|"(?:[^"\\]|\\.)*"|'[^']*'|[[\]{}]|#.*|\\./g;

/** What is left open at the end of a line of a value: brackets, or one kind of long string. */
function stillOpen(before: string, line: string): string {
  let open = before;
  for (const [word] of line.matchAll(token)) {
    const long = open.endsWith('"""') || open.endsWith("'''") ? open.slice(-3) : undefined;
    if (long !== undefined) {
      if (word === long) open = open.slice(0, -3);
    } else if (word === '"""' || word === "'''" || word === '[' || word === '{') open += word;
    else if (word === ']' || word === '}') open = open.slice(0, -1);
  }
  return open;
}
