import { useTimeRange, useAllVariableValues } from '@perses-dev/plugin-system';
import { useQuery } from '@tanstack/react-query';
import { useNavigate } from 'react-router-dom';
import { ask } from '../../api/ask';
import { plural } from '../../parts/format';
import { Scatter } from '../traces/scatter';
import type { Found } from '../traces/results';

interface Answer {
  data: {
    seriesLabels: Record<string, string>;
    exemplars: { labels: Record<string, string>; value: string; timestamp: number }[];
  }[];
}

/** Points that are drawn: the slowest, when there are more. */
const MOST = 400;

async function getExemplars(service: string, from: Date, to: Date): Promise<Found[]> {
  const answer = await ask<Answer>('/proxy/prometheus/api/v1/query_exemplars', {
    query: `http_server_request_duration_seconds_bucket{job="${service}"} or traces_span_metrics_duration_seconds_bucket{service_name="${service}",span_kind="SPAN_KIND_SERVER"}`,
    start: String(from.getTime() / 1000),
    end: String(to.getTime() / 1000),
  });
  const found = new Map<string, Found>();
  for (const { seriesLabels, exemplars } of answer.data) {
    const name = seriesLabels['span_name'] ?? seriesLabels['http_route'] ?? '';
    const status = seriesLabels['http_response_status_code'] ?? '';
    for (const { labels, value, timestamp } of exemplars) {
      const id = labels['trace_id'];
      if (!id) continue;
      const failed = status.startsWith('5') || seriesLabels['status_code'] === 'STATUS_CODE_ERROR';
      found.set(id, {
        id: id.padStart(32, '0'),
        service,
        name,
        start: timestamp * 1e6,
        duration: Number(value) * 1e6,
        spans: 1,
        failed: failed ? 1 : 0,
        services: [],
      });
    }
  }
  return [...found.values()].sort((a, b) => b.duration - a.duration).slice(0, MOST);
}

/** The requests behind the numbers: every point is one, and leads to its trace. */
export function Exemplars() {
  const { absoluteTimeRange, refreshKey } = useTimeRange();
  const variables = useAllVariableValues();
  const chosen = variables['service']?.value ?? variables['job']?.value;
  const service = typeof chosen === 'string' && chosen !== '' ? chosen : 'edge';
  const navigate = useNavigate();
  const exemplars = useQuery({
    queryKey: ['exemplars', service, absoluteTimeRange, refreshKey],
    queryFn: () => getExemplars(service, absoluteTimeRange.start, absoluteTimeRange.end),
    keepPreviousData: true,
  });
  if (!exemplars.data || exemplars.data.length < 3) return null;
  return (
    <section className="card">
      <h2>
        Requests of {service} <span className="note">{plural(exemplars.data.length, 'exemplar')}; a point opens its trace</span>
      </h2>
      <Scatter
        traces={exemplars.data}
        open={(id) => {
          navigate(`/traces/${id}`);
        }}
      />
    </section>
  );
}
