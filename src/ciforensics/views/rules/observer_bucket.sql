-- How wide should a bar over the observer's time be?
-- `p_bucket`, an interval, or what `span_buckets` says of the observer.
CREATE OR REPLACE MACRO observer_bucket(p_observer := NULL, p_bucket := NULL) AS TABLE
SELECT coalesce(interval_micros(p_bucket), s.bucket_us) AS bucket_us
FROM observer(p_observer := p_observer) AS o
JOIN span_buckets AS s ON s.source = o.source;
