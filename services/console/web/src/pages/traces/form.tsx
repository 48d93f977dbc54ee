import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { useNavigate } from 'react-router-dom';
import { getOperations } from '../../api/jaeger';
import type { Search } from '../../api/jaeger';
import { Choice, Names, TimeField, submitted } from '../../parts/search';

const ID = /^[0-9a-f]{16,32}$/i;
const DURATION = '\\d+(\\.\\d+)?(us|µs|ms|s|m)';

interface Props {
  search: Search;
  services: string[];
  submit: (params: Record<string, string>) => void;
}

export function SearchForm({ search, services, submit }: Props) {
  const [service, setService] = useState(search.service);
  const [operation, setOperation] = useState(search.operation);
  const operations = useQuery({
    queryKey: ['operations', service],
    queryFn: () => getOperations(service),
    enabled: service !== '',
  });

  return (
    <div className="searches">
      <form
        className="fields"
        role="search"
        onSubmit={submitted(({ text, has }) => {
          submit({
            service: text('service'),
            operation: text('operation'),
            min: text('min'),
            max: text('max'),
            attributes: text('attributes'),
            errors: has('errors') ? '1' : '',
            lookback: text('lookback'),
            limit: text('limit'),
          });
        })}
      >
        <Choice
          label="Service"
          name="service"
          value={service}
          choose={(next) => {
            setService(next);
            setOperation('');
          }}
        >
          <Names known={services} chosen={service} />
        </Choice>
        <Choice label="Operation" name="operation" value={operation} choose={setOperation}>
          <option value="">any</option>
          <Names known={operations.data ?? []} chosen={operation} />
        </Choice>
        <label>
          At least
          <input name="min" defaultValue={search.minDuration} placeholder="100ms" pattern={DURATION} size={7} title="A duration such as 100ms or 1.5s" />
        </label>
        <label>
          At most
          <input name="max" defaultValue={search.maxDuration} placeholder="10s" pattern={DURATION} size={7} title="A duration such as 100ms or 1.5s" />
        </label>
        <label className="wide">
          Attributes
          <input
            name="attributes"
            defaultValue={search.attributes}
            placeholder="http.route=/users http.response.status_code=500"
            title="key=value, with spaces between them; a value with spaces in quotes"
          />
        </label>
        <TimeField name="lookback" label="In the last" minutes={search.lookback} />
        <label>
          Show
          <select name="limit" defaultValue={search.limit}>
            {[...new Set([20, 50, 200, 500, search.limit])]
              .sort((a, b) => a - b)
              .map((limit) => (
                <option key={limit}>{limit}</option>
              ))}
          </select>
        </label>
        <label className="check">
          <input type="checkbox" name="errors" defaultChecked={search.errors} /> with errors
        </label>
        <button type="submit" className="primary">
          Search
        </button>
      </form>
      <OpenById />
    </div>
  );
}

function OpenById() {
  const navigate = useNavigate();
  const [wrong, setWrong] = useState(false);
  return (
    <form
      className="fields"
      onSubmit={submitted(({ text }) => {
        // The whole header may be pasted: its second part is the id.
        const id = text('id').split('-')[1] ?? text('id');
        if (ID.test(id)) navigate(`/traces/${id.toLowerCase()}`);
        else setWrong(true);
      })}
    >
      <label className="wide">
        or open a trace by its id
        <input
          name="id"
          placeholder="572cc1fb5914893d291e07ae5916a73c, or a traceparent"
          aria-invalid={wrong}
          onChange={() => {
            setWrong(false);
          }}
        />
      </label>
      <button type="submit">Open</button>
      {wrong && <span role="alert" className="bad">A trace id has 32 hexadecimal digits.</span>}
    </form>
  );
}
