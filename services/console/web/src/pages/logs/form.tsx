import { useState } from 'react';
import { clock } from '../../parts/format';
import type { Range } from '../../parts/range';
import { Names, TimeField, submitted } from '../../parts/search';
import { LEVELS } from './query';
import type { Filters } from './query';

interface Props {
  filters: Filters;
  /** LogQL in a person's own words. */
  own: string | null;
  query: string;
  range: Range;
  follow: boolean;
  services: string[];
  change: (next: Record<string, string>) => void;
}

export function LogForm({ filters, own, query, range, follow, services, change }: Props) {
  const [written, setWritten] = useState(own !== null);
  return (
    <form
      className="fields"
      role="search"
      onSubmit={submitted(({ text, has }) => {
        const time = { last: text('last'), follow: has('follow') ? '1' : '' };
        if (written) change({ ...time, query: text('query') });
        else {
          change({
            ...time,
            query: '',
            service: text('service'),
            level: text('level'),
            contains: text('contains'),
            trace: text('trace'),
            span: text('trace') === filters.trace ? filters.span : '',
          });
        }
      })}
    >
      {written ? (
        <label className="wide">
          LogQL
          <textarea name="query" defaultValue={query} rows={2} spellCheck={false} />
        </label>
      ) : (
        <>
          <label>
            Service
            <select name="service" defaultValue={filters.service}>
              <option value="">any</option>
              <Names known={services} chosen={filters.service} />
            </select>
          </label>
          <label>
            Level
            <select name="level" defaultValue={filters.level}>
              <option value="">any</option>
              {LEVELS.map((level) => (
                <option key={level} value={level}>
                  {level === 'error' ? 'error' : `${level} and worse`}
                </option>
              ))}
            </select>
          </label>
          <label className="wide">
            Contains
            <input name="contains" defaultValue={filters.contains} />
          </label>
          <label>
            Trace
            <input name="trace" defaultValue={filters.trace} size={18} pattern="[0-9a-fA-F]{16,32}" title="32 hexadecimal digits" />
          </label>
        </>
      )}
      <TimeField name="last" label={range.at === null ? 'In the last' : 'Around'} minutes={range.last} />
      {range.at === null ? (
        <label className="check">
          <input type="checkbox" name="follow" defaultChecked={follow} /> follow
        </label>
      ) : (
        <button
          type="button"
          title="Show the newest lines instead"
          onClick={() => {
            change({ at: '', last: '' });
          }}
        >
          {clock(range.at)} ✕
        </button>
      )}
      <button type="submit" className="primary">
        Search
      </button>
      <button
        type="button"
        className="link"
        onClick={() => {
          if (written && own !== null) change({ query: '' });
          setWritten(!written);
        }}
      >
        {written ? 'Use the filters' : 'Write LogQL'}
      </button>
      {!written && filters.span && (
        <p className="note span-filter">
          Lines of span <code>{filters.span}</code> only.{' '}
          <button
            type="button"
            className="link"
            onClick={() => {
              change({ span: '' });
            }}
          >
            All of the trace
          </button>
        </p>
      )}
    </form>
  );
}
