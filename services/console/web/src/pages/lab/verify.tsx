import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { getVerification, startVerification } from '../../api/lab';
import type { Link, Verification } from '../../api/lab';
import { ago, plural, seconds } from '../../parts/format';
import { Problem } from '../../parts/state';
import { Table } from '../../parts/table';

const KEY = ['verify'];

/** `./lab verify`, from here: every link between the signals, followed. */
export function Verify() {
  const queries = useQueryClient();
  const verification = useQuery({
    queryKey: KEY,
    queryFn: getVerification,
    refetchInterval: (data) => (data?.running ? 500 : 10_000),
  });
  const start = useMutation({
    mutationFn: startVerification,
    onSuccess: (data) => {
      queries.setQueryData(KEY, data);
    },
  });
  const running = verification.data?.running ?? null;
  const last = verification.data?.last ?? null;
  return (
    <section className="card" aria-label="Verification">
      <div className="head">
        <h2>Does every link hold?</h2>
        <button
          type="button"
          className="primary"
          disabled={running !== null || start.isPending}
          onClick={() => {
            start.mutate();
          }}
        >
          {running ? 'Verifying …' : 'Verify now'}
        </button>
      </div>
      {start.isError && <Problem what="The verification did not start" error={start.error} />}
      {verification.isError && <Problem what="The last verification is not known" error={verification.error} />}
      {running && <Progress running={running} />}
      {last?.problem && <Problem what="The verification could not be made" error={last.problem} />}
      {last?.report ? (
        <Result report={last.report} ended={last.ended} took={last.seconds} />
      ) : (
        !running &&
        !last && (
          <p className="note">
            Sends real requests, then follows each of them from its answer to its trace, its log lines, its metrics,
            its SQL. Takes about ten seconds.
          </p>
        )
      )}
    </section>
  );
}

function Progress({ running }: { running: NonNullable<Verification['running']> }) {
  const [waiting] = Object.entries(running.waiting);
  return (
    <div role="status">
      <progress max={Math.max(1, running.links)} value={running.done} aria-label="links followed" />
      <span className="note">
        {' '}
        {running.links === 0 ? 'sending requests' : `${running.done} of ${plural(running.links, 'link')} followed`}
        {waiting && `; ${waiting[0]}: ${waiting[1]}`}
      </span>
    </div>
  );
}

function Result({ report, ended, took }: { report: { ok: boolean; links: Link[] }; ended: number; took: number }) {
  const count = (result: Link['result']) => report.links.filter((link) => link.result === result).length;
  // What failed is what somebody came for.
  const order = { fail: 0, ok: 1, 'n/a': 2 };
  const links = report.links.toSorted((a, b) => order[a.result] - order[b.result]);
  return (
    <>
      <p>
        <strong className={report.ok ? 'good' : 'bad'}>{report.ok ? 'Every link holds' : 'Not every link holds'}</strong>
        : {count('ok')} ok, {count('fail')} failed, {count('n/a')} n/a, in {seconds(took)}, {ago(ended * 1000)}.
      </p>
      <details open={!report.ok}>
        <summary>{plural(links.length, 'link')}</summary>
        <Table columns={['result', 'link', 'what came', 'time']}>
          {links.map((link) => (
            <tr key={link.name}>
              <td className={link.result === 'ok' ? 'good' : link.result === 'fail' ? 'bad' : ''}>{link.result}</td>
              <th scope="row">{link.name}</th>
              <td title={link.asked}>{link.answer}</td>
              <td className="nowrap">{seconds(link.seconds)}</td>
            </tr>
          ))}
        </Table>
      </details>
    </>
  );
}
