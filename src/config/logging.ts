import * as v from 'valibot';
import { choice, section } from './keys.ts';

/** The [logging] table, the same for server and worker. */
export const loggingSchema = section({
  level: v.optional(
    choice('The least important kind of line that is written.', ['debug', 'info', 'warn', 'error']),
    'info',
  ),
  format: v.optional(
    choice('How lines look: "auto" is text on a terminal and JSON elsewhere.', [
      'auto',
      'text',
      'json',
    ]),
    'auto',
  ),
});

export type LoggingConfig = v.InferOutput<typeof loggingSchema>;
