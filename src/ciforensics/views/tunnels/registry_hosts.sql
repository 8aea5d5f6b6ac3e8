-- Which hosts serve container images?
-- Public registries and the hosts that their layers come from, as LIKE patterns; of Artifact Registry only what serves
-- images (`-python.pkg.dev` and the like do not). Layers of gcr.io may come from storage.googleapis.com, which serves
-- much else, and a registry of your own may have any name: neither is here.
CREATE OR REPLACE VIEW registry_hosts AS
SELECT pattern, registry
FROM (
    VALUES
        ('docker.io', 'Docker Hub'),
        ('%.docker.io', 'Docker Hub'),
        ('production.%.docker.com', 'Docker Hub'),
        ('docker-images-prod.%.r2.cloudflarestorage.com', 'Docker Hub'),
        ('ghcr.io', 'GitHub'),
        ('pkg-containers.githubusercontent.com', 'GitHub'),
        ('docker.pkg.github.com', 'GitHub'),
        ('gcr.io', 'Google'),
        ('%.gcr.io', 'Google'),
        ('%docker.pkg.dev', 'Artifact Registry'),
        ('quay.io', 'Quay'),
        ('%.quay.io', 'Quay'),
        ('mcr.microsoft.com', 'Microsoft'),
        ('%.mcr.microsoft.com', 'Microsoft'),
        ('%.azurecr.io', 'Azure'),
        ('registry.k8s.io', 'Kubernetes'),
        ('public.ecr.aws', 'Amazon'),
        ('%.dkr.ecr.%.amazonaws.com', 'Amazon'),
        ('registry.gitlab.com', 'GitLab'),
        ('nvcr.io', 'NVIDIA'),
        ('%.nvcr.io', 'NVIDIA'),
        ('docker.elastic.co', 'Elastic'),
        ('registry.redhat.io', 'Red Hat'),
        ('registry.access.redhat.com', 'Red Hat')
) AS known (pattern, registry);
